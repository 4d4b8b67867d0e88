"""deploy.sh with a stand-in for `az`, which writes down what it is told and answers as the real one should."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from tegata.crypto.envelope import Envelope

from .cloud_shell import Azure
from .templates import AZURE, DIGEST, Template, parameters_of


@pytest.fixture
def azure(tmp_path: Path) -> Azure:
    return Azure.ready(tmp_path)


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


def test_a_template_that_azure_refuses_ends_everything_after_it(azure: Azure) -> None:
    azure.answer((["deployment", "create"], [None]))
    finished = azure.run(*RELEASE)
    assert finished.returncode == 1
    assert azure.acts() == ["application.json parts=jobs"]


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
