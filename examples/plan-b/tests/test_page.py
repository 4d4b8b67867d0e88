"""What docs/how-to/plan-b.md tells people to type works, and what it explains exists."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tegata_verify import Reason

EXAMPLE = Path(__file__).parents[1]
DEPLOY = EXAMPLE / "deploy"
PAGE = (EXAMPLE.parents[1] / "docs/how-to/plan-b.md").read_text()
SHELL = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
CONFIGURATION = [line for line in SHELL.splitlines() if line.startswith("python3 nginx_configuration.py")]


def cells(heading: str) -> list[list[str]]:
    """Return the rows of the table with such a heading."""
    table = PAGE[PAGE.index(heading) :].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


@pytest.mark.parametrize("line", CONFIGURATION)
def test_a_command_prints_a_configuration(line: str):
    words = shlex.split(line.partition(">")[0])[1:]
    ran = subprocess.run([sys.executable, *words], cwd=DEPLOY, capture_output=True, text=True, check=True)
    assert 'set $back_host "back.plan-b.example.com";' in ran.stdout
    assert "10.0.0.0/24 0;" in ran.stdout
    assert ("ssl_verify_client on;" in ran.stdout) == ("--mutual-tls" in line)


def test_there_is_a_command_for_either_port():
    assert len(CONFIGURATION) == 2


def test_the_configuration_for_a_name_in_a_file_includes_it_and_checks_the_certificates_name():
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    sys.path.insert(0, str(DEPLOY))
    namespace: dict[str, str] = {}
    exec(compile(block, "documentation", "exec"), namespace)
    assert "include /etc/plan-b/back_host.conf;" in namespace["text"]
    assert "proxy_ssl_name back.plan-b.example.com;" in namespace["text"]
    assert "unused.example.com" not in namespace["text"]


def test_everything_that_is_installed_is_there():
    named = [word for line in SHELL.splitlines() if line.startswith("install ") for word in line.split()[3:-1]]
    assert set(named) == {path.name for path in DEPLOY.glob("plan-b-*")} | {"refresh_back_host.sh"}
    assert all((DEPLOY / name).exists() for name in named)


def test_the_scripts_variables_and_statuses_are_those_it_knows():
    script = (DEPLOY / "refresh_back_host.sh").read_text()
    asked = set(re.findall(r"^([A-Z_]+)=/", SHELL, re.MULTILINE))
    assert asked == set(re.findall(r"for variable in ([A-Z_ ]+);", script)[0].split())
    statuses = {row[0] for row in cells("| it ends with")}
    assert statuses == {"0", *re.findall(r"\bfail (\d+) ", script)}


def test_the_reasons_it_explains_are_reasons():
    known = {str(reason) for reason in Reason}
    named = {name for row in cells("| answer") for name in re.findall(r"`([a-z_]+)`", row[1])}
    assert len(named) > 8
    assert named - known == {"back"} & named


def test_the_waiting_times_it_names_are_the_configurations():
    default = runpy.run_path(str(DEPLOY / "nginx_configuration.py"))["NginxConfiguration"](
        "back.internal", ["10.0.0.0/24"]
    )
    assert (default.connect_seconds, default.read_seconds, default.resolver_valid_seconds) == (3, 60, 10)
    assert default.health_path in PAGE
