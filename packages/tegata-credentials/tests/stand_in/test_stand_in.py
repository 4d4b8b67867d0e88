"""Its life, what other processes need to find it, and that it holds nothing that it should not."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tegata_credentials.testing.outputs import VARIABLE, remembered
from tegata_credentials.testing.secrets_manager import THROTTLED, StandIn, StandInError

READ = "import boto3; print(boto3.client('secretsmanager').get_secret_value(SecretId='s')['SecretString'])"

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from tegata_credentials.testing.secrets_manager import StandIn
print("imported")
StandIn()
"""


def test_another_process_finds_it_by_its_environment(stand_in: StandIn, moto: Any) -> None:
    moto.create_secret(Name="s", SecretString="one")
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    said = subprocess.run(
        [sys.executable, "-c", READ],
        env=environment | stand_in.environment(principal="AKIAOTHER"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == "one"
    assert stand_in.calls.count("GetSecretValue", principal="AKIAOTHER") == 1


def test_a_reset_forgets_secrets_faults_and_calls(stand_in: StandIn, client: Any) -> None:
    client.create_secret(Name="s", SecretString="one")
    stand_in.faults.always("*", THROTTLED)
    stand_in.reset()
    assert len(stand_in.calls) == 0
    assert client.list_secrets()["SecretList"] == []


def test_what_it_writes_down_holds_no_value(stand_in: StandIn, client: Any) -> None:
    client.create_secret(Name="s", SecretString="a-value-of-a-secret")
    client.put_secret_value(SecretId="s", SecretString="another-value-of-a-secret")
    client.get_secret_value(SecretId="s")
    assert "value-of-a-secret" not in repr(list(stand_in.calls))
    assert stand_in.calls.operations() == ["CreateSecret", "PutSecretValue", "GetSecretValue"]


def test_it_ends_without_leaving_a_process_or_a_port() -> None:
    with StandIn() as own:
        process = own._process
        assert process is not None
        port = own.moto_port
    assert process.returncode is not None
    assert f":{port:04X} " not in listening()
    with pytest.raises(StandInError):
        _ = own.endpoint_url
    own.stop()


def test_its_process_ends_when_whoever_started_it_is_killed() -> None:
    code = (
        "from tegata_credentials.testing.secrets_manager import StandIn; import os, signal; s = StandIn(); s.start(); "
        "print(s._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    process = Path("/proc", said.stdout.strip())
    for _ in range(1000):
        if not process.exists() or "(zombie)" in (process / "status").read_text():
            break
        time.sleep(0.01)
    assert not process.exists() or "(zombie)" in (process / "status").read_text()


@pytest.mark.parametrize("absent", ["moto", "boto3"])
def test_what_is_not_installed_is_named(absent: str) -> None:
    code = WITHOUT.format(absent=absent)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "imported"
    assert f"`{absent}` is not installed: install `" in said.stderr


def listening() -> str:
    """Return the IPv4 sockets that listen, as the kernel lists them."""
    return "\n".join(line for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line)


def test_whatever_is_generated_and_kept_there_is_looked_for_at_the_end_of_the_run(
    stand_in: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    password, token, private, thumbprint = (secrets.token_urlsafe(32) for _ in range(4))
    client = stand_in.client()
    client.create_secret(Name="a", SecretString=json.dumps({"username": "app_a", "password": password, "port": 5432}))
    client.put_secret_value(SecretId="a", SecretString=token)
    key = {"kid": thumbprint, "jwk": {"kid": thumbprint, "x": thumbprint, "d": private}}
    client.put_secret_value(SecretId="a", SecretString=json.dumps({"keys": [key]}))
    client.put_secret_value(SecretId="a", SecretString="x" * 60)
    client.close()
    assert remembered(tmp_path) == sorted([password, token, private])
