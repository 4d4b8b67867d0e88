"""compose.yaml as a text: what may be done in its containers, who is told which secret, and who can be reached."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from containers.compose import ComposeFile
from containers.dockerfile import Dockerfile
from tegata.crypto.envelope import Envelope
from tegata.settings import Settings

from .charts import Charts
from .conftest import DEPLOY

FILE = ComposeFile(DEPLOY / "compose.yaml", {})
OURS = ("bootstrap", "migrate", "tegata-1", "tegata-2", "worker", "operator", "doctor")
EACH = pytest.mark.parametrize("name", FILE.services)
MAKE_SECRETS = DEPLOY / "compose" / "make_secrets.py"


def service(name: str) -> dict[str, Any]:
    return FILE.services[name]


def test_the_model_of_compose_knows_every_word_of_it(charts: Charts) -> None:
    document = {name: part for name, part in FILE.document.items() if not name.startswith("x-")}
    assert charts.ask(ask="compose", document=document) is None
    wrong = {**document, "services": {"a": {"image": "b:1", "read_onyl": True}}}
    assert "read_onyl" in charts.ask(ask="compose", document=wrong)


@EACH
def test_no_container_may_do_more_than_it_needs(name: str) -> None:
    told = service(name)
    assert told["read_only"] is True
    assert told["cap_drop"] == ["ALL"]
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "devices", "userns_mode"} & set(told)
    uid, _, gid = told["user"].partition(":")
    assert uid.isdigit()
    assert gid.isdigit()
    assert int(uid) > 0
    assert told["pids_limit"] == 256
    assert told["logging"]["options"]["max-size"] == "10m"
    for volume in told.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source in FILE.document["volumes"] or volume.endswith(":ro"), volume


@EACH
def test_images_are_pinned_to_a_version(name: str) -> None:
    repository, _, tag = service(name)["image"].rpartition(":")
    assert repository
    assert re.match(r"v?\d+\.\d+", tag), tag
    if name in OURS:
        assert tag == metadata.version("tegata")


@EACH
def test_this_machine_alone_can_reach_it(name: str) -> None:
    for port in service(name).get("ports", ()):
        assert port.startswith("127.0.0.1:")
    if name in OURS and not name.startswith("tegata-"):
        assert service(name)["network_mode"] == "none"


def test_the_database_has_no_network() -> None:
    assert service("postgres")["network_mode"] == "none"
    assert "ports" not in service("postgres")
    for rule in ("--auth-local=scram-sha-256", "--auth-host=scram-sha-256"):
        assert rule in service("postgres")["environment"]["POSTGRES_INITDB_ARGS"]


def test_each_service_is_told_its_own_secrets() -> None:
    assert {name: told.get("secrets", []) for name, told in FILE.services.items()} == {
        "postgres": ["postgres_password"],
        "bootstrap": ["bootstrap_url", "logins"],
        "migrate": ["migration_url"],
        "tegata-1": ["database_url", "master_key"],
        "tegata-2": ["database_url", "master_key"],
        "worker": ["maintenance_url", "master_key"],
        "nginx": ["tls_certificate", "tls_key"],
        "operator": ["maintenance_url", "master_key"],
        "doctor": ["migration_url", "database_url"],
        "valkey": ["valkey_users"],
        "mail": [],
    }


def test_settings_are_those_of_tegata_and_secrets_are_files() -> None:
    known = {f"TEGATA_{name.upper()}" for name in Settings.model_fields}
    for name in OURS:
        for variable, value in service(name).get("environment", {}).items():
            if variable.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service(name)["secrets"]
            assert variable.removesuffix("_FILE") in known


def test_servers_are_asked_as_the_image_says_and_nobody_else_is(dockerfile: Dockerfile) -> None:
    for name in OURS:
        told = service(name)["healthcheck"]
        if name.startswith("tegata-"):
            assert told["test"] == ["CMD", *dockerfile.image.last("HEALTHCHECK").words]
        else:
            # The image's own check would ask for a server.
            assert told == {"disable": True}


def test_a_server_has_the_time_to_leave() -> None:
    for name in ("tegata-1", "tegata-2"):
        told = service(name)
        leaving = sum(int(told["environment"][f"TEGATA_{each}_SECONDS"]) for each in ("DRAIN", "SHUTDOWN"))
        assert int(told["stop_grace_period"].removesuffix("s")) > leaving


def test_what_tegata_does_not_need_is_not_started() -> None:
    assert list(FILE.starting_order()) == [
        "postgres",
        "bootstrap",
        "migrate",
        "tegata-1",
        "tegata-2",
        "worker",
        "nginx",
    ]
    assert {name: told["profiles"] for name, told in FILE.services.items() if "profiles" in told} == {
        "operator": ["tools"],
        "doctor": ["tools"],
        "valkey": ["valkey"],
        "mail": ["mail"],
    }


def test_the_script_makes_every_secret_once(secrets: Path) -> None:
    wanted = {Path(each["file"]).name for each in FILE.document["secrets"].values()}
    assert {path.name for path in secrets.iterdir()} == wanted
    assert all(each["file"].startswith("./compose/secrets/") for each in FILE.document["secrets"].values())
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    again = subprocess.run([sys.executable, str(MAKE_SECRETS), str(secrets)], capture_output=True, check=True)
    assert again.stdout == b""
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    Envelope.from_text(before["master_key"].decode())
    assert len(set(before.values())) == len(before)


def test_nobody_else_on_the_machine_can_read_them_and_everybody_in_a_container_can(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets.iterdir()} == {0o444}
    ignored = (DEPLOY / "compose" / ".gitignore").read_text().split()
    assert ignored == ["secrets/"]


def test_a_lost_secret_is_made_again_as_the_others_have_it(secrets: Path, tmp_path: Path) -> None:
    for path in secrets.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    os.unlink(tmp_path / "database_url")
    told = subprocess.run(
        [sys.executable, str(MAKE_SECRETS), str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert told.stdout == "made database_url\n"
    assert (tmp_path / "database_url").read_bytes() == (secrets / "database_url").read_bytes()
