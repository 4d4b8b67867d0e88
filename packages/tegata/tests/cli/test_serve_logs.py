"""What `tegata serve` says about its logins: in lines of JSON how it logs in, and why there is no token."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from tegata.cli.failures import UNAVAILABLE
from tegata.crypto.envelope import new_master_key
from tegata.testing.warm_starts import run_to_its_end

TEGATA = Path(sys.executable).parent / "tegata"
# Nobody listens on port 1; the identity has the surroundings of a container in App Service.
AWAY = {
    "PATH": os.environ["PATH"],
    "IDENTITY_ENDPOINT": "http://127.0.0.1:1/msi/token",
    "IDENTITY_HEADER": "a-header-of-the-platform",
    "USE_MANAGED_IDENTITY": "true",
    "DATABASE_URL": "postgresql+asyncpg://tegata_app@127.0.0.1:1/tegata",
    "TEGATA_BASE_URL": "https://id.example.com",
    "TEGATA_PORT": "0",
}


@pytest.mark.parametrize("level", ["info", "error"])
def test_without_an_identity_the_log_says_why_in_json(level: str) -> None:
    environment = {**AWAY, "TEGATA_MASTER_KEY": new_master_key(), "TEGATA_LOG_LEVEL": level}
    done = run_to_its_end([TEGATA, "serve"], env=environment, timeout=120)
    assert done.returncode == UNAVAILABLE
    # For the person at the terminal one sentence, and nothing that a library has printed.
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("tegata: the database cannot be used: no database credential: unreachable")
    assert "a-header-of-the-platform" not in done.stdout + done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if level == "error":
        assert lines == []
        return
    (how,) = [line for line in lines if line["event"] == "database_connection"]
    assert (how["auth_method"], how["username"], how["host"]) == ("managed_identity", "tegata_app", "127.0.0.1")
    (why,) = [line for line in lines if line.get("source") == "tegata_credentials.tokens"]
    assert (why["level"], why["message"]) == ("warning", "no token obtained: unreachable")
    assert (why["reason"], why["auth_method"]) == ("unreachable", "managed_identity")
