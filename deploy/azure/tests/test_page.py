"""docs/how-to/deploy-on-azure.md says what the templates do, and its commands are ones that they take."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from .cloud_shell import Azure
from .templates import AZURE, DIGEST, ENVIRONMENTS, TYPED, Template, deployed, parameters_of
from .test_environments import found

PAGE = (AZURE.parent.parent / "docs/how-to/deploy-on-azure.md").read_text()


def commands(heading: str) -> list[str]:
    """Return the commands of the blocks below a heading, each on one line, with values where words stand for them."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = "\n".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL)).replace("\\\n", " ").splitlines()
    values = {
        "sha256:…": DIGEST,
        "GROUP-OF-REGISTRY": "shared",
        "REGISTRY": "examplecorp",
        "YOUR-ADDRESS": "198.51.100.7",
    }
    for word, value in values.items():
        lines = [line.replace(word, value) for line in lines]
    return lines


def test_the_commands_from_an_empty_group_to_a_running_tegata_go_through(tmp_path: Path) -> None:
    azure = Azure.ready(tmp_path)
    told = [line for line in commands("Deploy") if line.startswith(("az group", "deploy/"))]
    assert [line.split()[1] for line in told] == ["group", "foundation", "master-key", "release"]
    for line in told:
        finished = azure.shell("bash", "-c", line)
        assert finished.returncode == 0, finished.stderr
    assert azure.acts() == [
        "foundation.json",
        "Enabled",
        "let in",
        "key written",
        "let in no more",
        "Disabled",
        "application.json parts=jobs",
        "tegata-production-bootstrap",
        "tegata-production-migrate",
        "tegata-production-doctor",
        "application.json parts=all",
    ]


@pytest.mark.parametrize("heading", ["Deploy", "Restore"])
def test_every_parameter_on_the_page_is_taken_by_its_template(heading: str, tmp_path: Path) -> None:
    azure = Azure.ready(tmp_path)
    for line in commands(heading):
        if "deploy.sh" in line or "deployment group create" in line:
            assert azure.shell("bash", "-c", line).returncode == 0
    created = [line for line, _ in azure.said if "create" in line and "deployment" in line]
    assert created
    for words in created:
        _deploy(words)


def _deploy(line: list[str]) -> None:
    template = Path(line[line.index("--template-file") + 1])
    given: dict[str, Any] = {}
    for word in line[line.index("--parameters") + 1 :]:
        if word.startswith("@"):
            written = json.loads((AZURE.parent.parent / word[1:]).read_text())
            given |= {name: one["value"] for name, one in written["parameters"].items()}
        elif not word.startswith("--"):
            name, _, value = word.partition("=")
            given[name] = json.loads(value) if value.startswith("[") else value
    assert Template.read(template.stem).deploy(**given).resources


def test_the_jobs_that_the_page_starts_exist() -> None:
    jobs = {one.name for one in deployed("application", "production", parts="jobs").of("Microsoft.App/jobs")}
    started = {shlex.split(line)[-1] for line in commands("Deploy") if "job start" in line}
    assert started == jobs


def test_every_identity_is_in_the_table() -> None:
    table = PAGE.partition("| identity | used by | may |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| (\w+) \|", table, re.MULTILINE)
    assert named == deployed("foundation", "production").variables["identities"]


def test_the_table_of_environments_says_what_the_templates_make() -> None:
    table = PAGE.partition("| | dev | staging | production |\n")[2].partition("\n\n")[0]
    rows = {cells[1].strip(): cells[2:5] for cells in (line.split("|") for line in table.splitlines()[1:])}
    for column, environment in enumerate(ENVIRONMENTS):
        made = found(environment)
        least, most = made["servers"]
        cores = f"{made['cores and memory'][0]:g}"
        standby = {None: "none", "ZoneRedundant": "another zone"}[made["database standby"]]
        said = {
            "database": f"{made['database size']}, {made['storage in GiB']} GiB",
            "standby": standby,
            "backups": f"{made['days to restore from']} days",
            "servers": f"{least if least == most else f'{least} to {most}'}, of {cores} core",
            "workers": str(made["workers"]),
            "zones": "spread" if made["containers over zones"] else "one",
            "logs": f"{made['days of logs']} days",
            "locks": "yes" if made["locks against deletion"] else "no",
        }
        for row, text in said.items():
            assert rows[row][column].strip().startswith(text), (environment, row)
    assert set(rows) == set(said)
    assert ("paired region" in rows["backups"][2]) == (found("production")["backups in another region"] == "Enabled")


def test_what_a_person_has_to_say_is_what_the_page_says() -> None:
    for name in ("foundation", "application"):
        declared = Template.read(name).document["parameters"]
        known = {*parameters_of("production", name), "parts"}
        for parameter in {one for one in declared if "defaultValue" not in declared[one]} - known:
            assert parameter in TYPED[name]
            assert f"{parameter}=" in PAGE or parameter == "imageDigest"
