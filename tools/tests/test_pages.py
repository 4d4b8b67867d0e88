"""What pages lead to and tell people to type exists: links, pages named by programs, commands with their options."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from tegata.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
OWN_LINE = re.compile(r"(?:^|[\s(])(tegata [a-z].*)")
# Names that are free below these, and a variable of the tests themselves.
# What the rotation function on AWS Lambda reads: it is no server, and has no settings of one.
OF_THE_FUNCTION = {"TEGATA_ROTATION", "TEGATA_ROTATION_CA"}
# What `tegata-credentials watch --exec` tells the command it runs.
OF_WATCH = {"TEGATA_SECRET"}
# What the application of examples/plan-b reads.
OF_PLAN_B = {"TEGATA_AUDIENCE", "TEGATA_CLIENT_ID", "TEGATA_ISSUER"}
FREE = ("TEGATA_DEV_", "TEGATA_SECRET_", "TEGATA_TEST_", "TEGATA_ACCEPTANCE_")


def tracked(pattern: str) -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()


PAGES = tracked("*.md")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    # News fragments become part of a page at the top.
    base = ROOT if page.startswith("changes/") else (ROOT / page).parent
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text_of(page)) if ":" not in link]
    assert [link for link in links if not (base / link).exists()] == []


def test_every_page_that_a_program_names_exists() -> None:
    named = {
        name
        for path in tracked("packages/*/src/*.py")
        for name in re.findall(r"docs/[\w/-]+\.(?:md|json)", text_of(path))
    }
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def commands(page: str) -> Iterator[str]:
    """Lines of code blocks, and single commands within a sentence."""
    text = text_of(page)
    for block in re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            if found := OWN_LINE.search(re.sub(r"\s+#.*", "", line)):
                yield found[1]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`(tegata [a-z][^`]*)`", prose)


def problem(line: str) -> str | None:
    """What the command would not understand."""
    words = shlex.split(re.split(r"\s[|>&]", line.replace("\n", " "))[0])[1:]
    found: Any = get_command(app)
    while hasattr(found, "commands"):  # typer's groups need not be click's
        if not words or words[0] not in found.commands:
            return f"no such command: {line}"
        found = found.commands[words.pop(0)]
    known = {"-h", "--help", "-"} | {name for each in found.params for name in (*each.opts, *each.secondary_opts)}
    unknown = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return f"no such option {unknown}: {line}" if unknown else None


@pytest.mark.parametrize("page", [page for page in PAGES if page != "ARCHITECTURE.md"])
def test_every_command_on_a_page_can_be_typed(page: str) -> None:
    assert [found for line in commands(page) if (found := problem(line))] == []


@pytest.mark.parametrize(
    "line", ["tegata worker --twice", "tegata grow", "tegata db", "tegata db bootstrap --for=x --p"]
)
def test_a_command_that_there_is_not_is_found(line: str) -> None:
    assert problem(line) is not None


def test_commands_are_found_on_the_pages() -> None:
    assert len([line for page in PAGES for line in commands(page)]) > 60


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_on_a_page_is_one(page: str) -> None:
    known = set(re.findall(r"`(TEGATA_[A-Z_]+)`", text_of("docs/reference/settings.md")))
    named = {name for name in re.findall(r"\bTEGATA_[A-Z_]*[A-Z]\b", text_of(page)) if not name.startswith(FREE)}
    assert sorted(named - known - OF_THE_FUNCTION - OF_WATCH - OF_PLAN_B) == []
