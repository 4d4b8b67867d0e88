"""deploy.sh with a stand-in for `az`, which writes down what it is told and answers as the real one should."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tegata.crypto.envelope import Envelope

from .templates import AZURE, DIGEST, Template, parameters_of

# What it answers comes from answers.json, by the words that a command line has to hold; the last answer is repeated.
AZ = """#!{python}
import json, pathlib, sys
place = pathlib.Path(__file__).resolve().parent.parent
line = sys.argv[1:]
files = [pathlib.Path(word).read_text() for name, word in zip(line, line[1:]) if name == "--file"]
with (place / "said").open("a") as said:
    said.write(json.dumps([line, files]) + "\\n")
answers = json.loads((place / "answers.json").read_text())
for words, texts in answers:
    if set(words) <= set(line):
        counter = place / ("count-" + "-".join(words).replace("/", "_"))
        count = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(count + 1))
        text = texts[min(count, len(texts) - 1)]
        if text is None:
            sys.exit("ERROR: (Forbidden)")
        print(text)
        break
"""


@dataclass
class Azure:
    """A place with a stand-in for `az` in it."""

    place: Path

    def answer(self, *answers: tuple[list[str], list[str | None]]) -> None:
        (self.place / "answers.json").write_text(json.dumps(answers))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": f"{self.place / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "TEGATA_DEPLOY_PAUSE_SECONDS": "0",
            "TMPDIR": str(self.place),
        }
        return subprocess.run(
            ["bash", str(AZURE / "deploy.sh"), *words],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def said(self) -> list[tuple[list[str], list[str]]]:
        """Each command line, and the contents of files it named."""
        file = self.place / "said"
        return (
            [(line, files) for line, files in map(json.loads, file.read_text().splitlines())] if file.exists() else []
        )

    def acts(self) -> list[str]:
        """What was changed, in a word each."""
        found = []
        for line, _ in self.said:
            words = " ".join(line)
            for start, act in _ACTS.items():
                if words.startswith(start):
                    found.append(act(line) if callable(act) else act)
        return found


def _after(word: str) -> Callable[[list[str]], str]:
    return lambda line: line[line.index(word) + 1]


_ACTS: dict[str, str | Callable[[list[str]], str]] = {
    "deployment group create": lambda line: " ".join(
        [Path(_after("--template-file")(line)).name, *[word for word in line if word.startswith("parts=")]]
    ),
    "containerapp job start": _after("--name"),
    "keyvault update": lambda line: _after("--public-network-access")(line),
    "keyvault network-rule add": "let in",
    "keyvault network-rule remove": "let in no more",
    "keyvault secret set": "key written",
}


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    (tmp_path / "bin").mkdir()
    az = tmp_path / "bin" / "az"
    az.write_text(AZ.replace("{python}", sys.executable))
    az.chmod(0o755)
    made = Azure(tmp_path)
    made.answer(
        (["job", "start"], ["execution-1"]),
        (["execution", "show"], ["Running", "", "Succeeded"]),
        (["properties.outputs.vault.value"], ["tegata-vault"]),
        (["properties.outputs.server.value"], ["tegata-db.postgres.database.azure.com"]),
        (["properties.outputs.baseUrl.value"], ["https://id.example.com"]),
        (["secret", "list"], [""]),
    )
    return made


RELEASE = ("release", "production", "tegata-production", DIGEST, "registryName=examplecorp")


def test_a_release_runs_the_jobs_before_anything_serves_with_the_new_image(azure: Azure) -> None:
    finished = azure.run(*RELEASE)
    assert finished.returncode == 0, finished.stderr
    assert azure.acts() == [
        "application.json parts=jobs",
        "tegata-production-bootstrap",
        "tegata-production-migrate",
        "tegata-production-doctor",
        "application.json parts=all",
    ]
    assert finished.stdout.endswith("Tegata: https://id.example.com\n")


@pytest.mark.parametrize("status", ["Failed", "Stopped", "Degraded"])
def test_a_job_that_fails_ends_the_release_with_the_old_one_serving(azure: Azure, status: str) -> None:
    azure.answer((["job", "start"], ["execution-1"]), (["execution", "show"], ["Succeeded", status]))
    finished = azure.run(*RELEASE)
    assert finished.returncode == 1
    assert azure.acts() == [
        "application.json parts=jobs",
        "tegata-production-bootstrap",
        "tegata-production-migrate",
    ]
    assert f"migrate: {status}" in finished.stderr
    assert "az containerapp job logs show" in finished.stderr


def test_a_name_of_ones_own_is_that_of_the_jobs_too(azure: Azure) -> None:
    assert azure.run(*RELEASE, "name=idp").returncode == 0
    assert "idp-production-migrate" in azure.acts()


def test_what_is_typed_reaches_the_template_beside_the_file_of_the_environment(azure: Azure) -> None:
    typed = ["registryName=examplecorp", "registryResourceGroup=shared", 'alertEmails=["ops@example.com"]']
    finished = azure.run("foundation", "staging", "tegata-staging", *typed)
    assert finished.returncode == 0, finished.stderr
    (line,) = [line for line, _ in azure.said if "create" in line]
    given = line[line.index("--parameters") + 1 :]
    file = next(word for word in given if word.startswith("@"))
    assert Path(file[1:]) == AZURE / "environments/staging/foundation.json"
    assert {*typed} <= {*given}
    # Together they are what the template takes.
    values = {word.partition("=")[0]: word.partition("=")[2] for word in typed}
    Template.read("foundation").deploy(
        **{**parameters_of("staging", "foundation"), **values, "alertEmails": json.loads(values["alertEmails"])}
    )


def test_the_master_key_is_written_once_and_stands_on_no_command_line(azure: Azure) -> None:
    finished = azure.run("master-key", "production", "tegata-production")
    assert finished.returncode == 0, finished.stderr
    assert azure.acts() == ["key written"]
    ((_, (key,)),) = [(line, files) for line, files in azure.said if files]
    Envelope.from_text(key)
    everything = json.dumps([line for line, _ in azure.said]) + finished.stdout + finished.stderr
    assert key not in everything
    assert not list(azure.place.glob("tmp*")), "the file of the key was left behind"


def test_no_two_keys_are_the_same(azure: Azure) -> None:
    for _ in range(2):
        azure.run("master-key", "production", "tegata-production")
    keys = [files[0] for _, files in azure.said if files]
    assert len(set(keys)) == 2


@pytest.mark.parametrize(("listed", "status"), [([""], 0), ([None, None, ""], 0), ([None], 1), (["master-key"], 1)])
def test_the_vault_is_closed_again_whatever_happens(azure: Azure, listed: list[str | None], status: int) -> None:
    azure.answer((["properties.outputs.vault.value"], ["tegata-vault"]), (["secret", "list"], listed))
    finished = azure.run("master-key", "production", "tegata-production", "198.51.100.7")
    assert finished.returncode == status, finished.stderr
    written = ["key written"] if status == 0 else []
    assert azure.acts() == ["Enabled", "let in", *written, "let in no more", "Disabled"]


def test_a_key_that_is_there_is_never_replaced(azure: Azure) -> None:
    azure.answer((["properties.outputs.vault.value"], ["tegata-vault"]), (["secret", "list"], ["master-key"]))
    finished = azure.run("master-key", "production", "tegata-production")
    assert finished.returncode == 1
    assert "nothing was changed" in finished.stderr
    assert azure.acts() == []


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["release", "production"],
        ["release", "production", "group"],
        ["foundation", "production", "group"],
        ["foundation", "test", "group", "a=b"],
        ["destroy", "production", "group"],
    ],
)
def test_what_it_does_not_understand_it_does_not_do(azure: Azure, words: list[str]) -> None:
    finished = azure.run(*words)
    assert finished.returncode == 2
    assert "deploy.sh foundation" in finished.stderr
    assert azure.said == []


def test_the_script_can_be_started() -> None:
    assert os.access(AZURE / "deploy.sh", os.X_OK)
    assert shutil.which("openssl")
