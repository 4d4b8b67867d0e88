"""The commands of docs/reference/aws-secrets.md with which the second region takes over, run by AWS's own CLI."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deployed import REGION, Deployed

from tegata_credentials.testing.secrets_manager import StandIn

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "aws-secrets.md"
PROGRAMS = Path(sys.prefix, "ministack", "bin")
THERE = "ap-northeast-3"
# One of them: each costs seven starts of the CLI.
NAMES = ("idp-server/api-credentials",)


@pytest.fixture(scope="module")
def store() -> Iterator[StandIn]:
    if not (PROGRAMS / "aws").exists():
        words = "AWS's CLI, which `make test` installs from requirements/ministack.txt"
        if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
            pytest.fail(f"missing: {words}")
        pytest.skip(f"needs {words}")
    with StandIn(region=REGION) as started:
        yield started


def run(script: str, store: StandIn, directory: Path) -> None:
    """Run commands as they stand on the page, in one shell."""
    variables = {
        **store.environment(),
        "PATH": f"{PROGRAMS}:/usr/bin:/bin",
        "TMPDIR": str(directory),
        "AWS_PAGER": "",
        "there": THERE,
        "NAMES": " ".join(NAMES),
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def value(client: Any, name: str) -> dict[str, Any]:
    return dict(json.loads(client.get_secret_value(SecretId=name)["SecretString"]))


def test_the_copies_become_the_values_of_the_stack_in_the_second_region(store: StandIn, tmp_path: Path) -> None:
    here, there = store.client(), store.client(region_name=THERE)
    Deployed.read("production").make_secrets(here, {"host": "127.0.0.1", "port": 5432})
    for name in NAMES:
        here.replicate_secret_to_regions(SecretId=name, AddReplicaRegions=[{"Region": THERE}])
    before = {name: value(here, name) for name in NAMES}
    keep, put_back = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)

    # What the commands in between deploy is made here by the stand-in's client, in the same shell's directory.
    run(keep.replace("$(mktemp -d)", '"$TMPDIR/kept" && mkdir "$kept"'), store, tmp_path)
    Deployed.read("production").make_secrets(there, {"host": "127.0.0.1", "port": 5432})
    assert value(there, NAMES[0]) != before[NAMES[0]]
    run('kept="$TMPDIR/kept"\n' + put_back, store, tmp_path)

    assert {name: value(there, name) for name in NAMES} == before
    assert {name: value(there, f"kept/{name}") for name in NAMES} == before
    assert not (tmp_path / "kept").exists()
    for client in (here, there):
        client.close()
