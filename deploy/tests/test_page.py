"""docs/how-to/run-in-containers.md: what it tells people to type exists, and its values make a chart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from typer.main import get_command

from containers.compose import ComposeFile
from tegata.cli.main import app

from .charts import CHART, Charts, pods
from .conftest import DEPLOY, ROOT

PAGE = (ROOT / "docs" / "how-to" / "run-in-containers.md").read_text()
FILE = ComposeFile(DEPLOY / "compose.yaml", {})


def lines(program: str) -> Iterator[list[str]]:
    """The commands of the page's code blocks that begin with a program."""
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == [program]:
                yield words


def block(name: str) -> Any:
    found = re.search(rf"```yaml\n# {re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return yaml.safe_load(found[1])


COMPOSE = [words[2:] for words in lines("docker") if words[1] == "compose"]


@pytest.mark.parametrize("words", COMPOSE, ids=" ".join)
def test_compose_is_told_of_services_that_there_are(words: list[str]) -> None:
    assert words[:2] == ["-f", "deploy/compose.yaml"]
    kind, *rest = words[2:]
    assert kind in {"up", "run", "build"}
    plain = []
    given = iter(rest)
    for word in given:
        if word == "-e":
            next(given)
        elif not word.startswith("--") and word != "-T":
            plain = [word, *given]
    if not plain:
        assert kind in {"up", "build"}
        return
    name, *command = plain
    assert name in FILE.services
    if kind == "run" and command:
        told = command[: command.index("<")]
        known = get_command(app).commands  # type: ignore[attr-defined]
        assert told[0] in known
        assert set(told[1:]) & {"-f", "-"} == {"-f", "-"}


def test_there_are_commands_to_look_at() -> None:
    assert len(COMPOSE) == 8


def test_the_image_is_built_from_the_file_that_there_is() -> None:
    (words,) = [words for words in lines("docker") if words[1] == "build"]
    assert (ROOT / words[words.index("-f") + 1]).is_file()
    assert words[words.index("-t") + 1] == FILE.services["tegata-1"]["image"]


def test_secrets_have_the_keys_that_the_chart_mounts(charts: Charts) -> None:
    made = {
        words[6]: {word.partition("=")[2] for word in words if word.startswith("--from-file=")}
        for words in lines("kubectl")
        if "secret" in words
    }
    mounted: dict[str, set[str]] = {}
    for pod in pods(charts.manifests(**block("values.yaml"))).values():
        for volume in pod["volumes"]:
            for source in volume.get("projected", {}).get("sources", ()):
                keys = {item["key"] for item in source["secret"]["items"]}
                mounted.setdefault(source["secret"]["name"], set()).update(keys)
    assert made == mounted


def test_its_values_are_good(charts: Charts) -> None:
    answer = charts.render("1.33", **block("values.yaml"))
    assert answer["problems"] == []
    assert {each["kind"] for each in answer["manifests"]} >= {"Ingress", "Job", "NetworkPolicy"}
    (words,) = lines("helm")
    assert ROOT / words[words.index("--install") + 2] == CHART


@pytest.mark.parametrize(
    "values",
    [
        {"database": {"auth": "aws_iam"}, "bootstrap": {"enabled": True, "provider": "rds"}},
        {
            "database": {"auth": "managed_identity"},
            "bootstrap": {"enabled": True, "provider": "azure"},
            "config": {"TEGATA_DATABASE_AZURE_DEFAULT_CREDENTIAL": True},
            "podLabels": {"azure.workload.identity/use": "true"},
        },
    ],
    ids=["eks", "aks"],
)
def test_its_values_without_passwords_are_good(charts: Charts, values: dict[str, Any]) -> None:
    for word in (values["database"]["auth"], f"bootstrap.provider: {values['bootstrap']['provider']}"):
        assert f"`{word}`" in PAGE
    assert charts.render("1.33", **values)["problems"] == []
