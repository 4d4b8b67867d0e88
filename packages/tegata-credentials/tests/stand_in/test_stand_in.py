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
        assert own._running.port in listening_here()
        port = own._running.port
    assert process.returncode is not None, "what it listened at has ended with it"
    assert port not in listening_here()
    with pytest.raises(StandInError):
        _ = own.endpoint_url
    own.stop()


def test_its_process_ends_when_whoever_started_it_is_killed() -> None:
    code = (
        "from tegata_credentials.testing.secrets_manager import StandIn; import os, signal; s = StandIn(); s.start(); "
        "print(s._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    latest = time.monotonic() + 60
    while is_running(process := said.stdout.strip()) and time.monotonic() < latest:
        time.sleep(0.01)
    assert not is_running(process)


@pytest.mark.parametrize("absent", ["moto", "boto3"])
def test_what_is_not_installed_is_named(absent: str) -> None:
    code = WITHOUT.format(absent=absent)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.strip() == "imported"
    assert f"`{absent}` is not installed: install `" in said.stderr


def is_running(process: str) -> bool:
    """Say whether there is such a process, which is not only waiting for somebody to take note of its end."""
    try:
        return "(zombie)" not in Path("/proc", process, "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def listening_here() -> set[int]:
    """Return the ports at which this process listens: one that it leaves may soon be another's."""
    own = {os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].partition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}


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
