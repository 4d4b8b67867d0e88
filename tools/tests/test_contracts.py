"""Each import contract is broken on purpose, in a copy of the packages' outline, and must say so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import pytest

CONFIG = Path(__file__).resolve().parents[2] / "pyproject.toml"

OUTLINE = {
    "tegata": "",
    "tegata.cli": "",
    "tegata.testing": "",
    "tegata.testing.clusters": "import psycopg",
    "tegata.testing.crowd": "import psycopg",
    "tegata.testing.password_server": "import psycopg",
    "tegata.testing.pgbouncer": "import psycopg",
    "tegata.app": "",
    "tegata.settings": "",
    "tegata.web": "",
    "tegata.api": "",
    "tegata.postgres": "import alembic, asyncpg, psycopg, sqlalchemy",
    "tegata.outbound": "",
    "tegata.flows": "",
    "tegata.telemetry": "",
    "tegata.telemetry.tracing": "import opentelemetry",
    "tegata.telemetry.trace_export": "import opentelemetry",
    "tegata.testing.collector": "import opentelemetry",
    "tegata.testing.spans": "import opentelemetry",
    "tegata.storage": "",
    "tegata.protocol": "",
    "tegata.protocol.claims": "import tegata.identity.account",
    "tegata.protocol.interaction": "import tegata.identity.session",
    "tegata.identifiers": "",
    "tegata.protocol.grants": "",
    "tegata.protocol.grants.authorization_code": "",
    "tegata.protocol.grants.refresh_token": "",
    "tegata.identity": "",
    "tegata.identity.account": "import tegata.identifiers",
    "tegata.identity.session": "",
    "tegata.crypto": "import argon2, cryptography, joserfc, secrets",
    "tegata_verify": "",
    "tegata_verify.fastapi": "import fastapi",
    "tegata_verify.django": "import django",
    "tegata_verify.flask": "import flask",
    "tegata_verify.client": "",
    "tegata_verify.client.requests": "import requests",
    "tegata_credentials": "",
    "tegata_credentials.rotation": "",
    "tegata_credentials.rotation.signing_keys": "import joserfc",
    "tegata_credentials.sqlalchemy": "import sqlalchemy",
    "tegata_credentials.testing": "import joserfc, cryptography",
}
"""The packages the contracts speak of, with the imports that are meant to be there."""

BREACHES = [
    ("layers", "tegata.flows", "import tegata.postgres"),
    ("layers", "tegata.storage", "import tegata.flows"),
    ("layers", "tegata.crypto", "import tegata.protocol"),
    ("layers", "tegata.identity", "import tegata.protocol"),
    ("layers", "tegata.identifiers", "import tegata.identity.session"),
    ("layers", "tegata.identity.session", "import tegata.protocol.claims"),
    ("layers", "tegata.flows", "import tegata.outbound"),
    ("layers", "tegata.postgres", "import tegata.api"),
    ("layers", "tegata.app", "import tegata.cli"),
    ("layers", "tegata.web", "import tegata.settings"),
    ("layers", "tegata.drawer", ""),
    ("packages", "tegata_verify", "import tegata.protocol"),
    ("packages", "tegata_credentials", "import tegata_verify"),
    ("packages", "tegata_verify", "import tegata_credentials"),
    ("pure-rules", "tegata.protocol", "import starlette"),
    ("pure-rules", "tegata.protocol.grants.refresh_token", "import asyncpg"),
    ("pure-rules", "tegata.protocol", "import time"),
    ("pure-rules", "tegata.identity", "import random"),
    ("pure-rules", "tegata.identity", "import secrets"),
    ("pure-rules", "tegata.identity", "import logging"),
    ("records-and-ports", "tegata.storage", "import asyncpg"),
    ("flows-know-no-http", "tegata.flows", "import starlette"),
    ("flows-know-no-http", "tegata.flows", "import uvicorn"),
    ("flows-know-no-http", "tegata.flows", "import tegata.web"),
    ("web-through-flows", "tegata.web", "import tegata.postgres"),
    ("web-through-flows", "tegata.api", "import tegata.postgres"),
    ("grants-apart", "tegata.protocol.grants.refresh_token", "import tegata.protocol.grants.authorization_code"),
    ("sql-in-one-place", "tegata.api", "import asyncpg"),
    ("sql-in-one-place", "tegata.cli", "import psycopg"),
    ("sql-in-one-place", "tegata.app", "import sqlalchemy"),
    ("sql-in-one-place", "tegata.testing", "import asyncpg"),
    ("fastapi-in-its-place", "tegata.api", "import fastapi"),
    ("fastapi-in-its-place", "tegata_verify", "import fastapi"),
    ("front-ends-in-their-place", "tegata_verify", "import flask"),
    ("front-ends-in-their-place", "tegata_verify", "import django"),
    ("front-ends-in-their-place", "tegata_verify", "import requests"),
    ("jose-behind-crypto", "tegata_credentials.sqlalchemy", "import joserfc"),
    ("traces-in-their-place", "tegata.api", "import opentelemetry"),
    ("traces-in-their-place", "tegata.telemetry", "import opentelemetry"),
    ("jose-behind-crypto", "tegata.flows", "import joserfc"),
    ("jose-behind-crypto", "tegata.postgres", "import cryptography"),
]


class Linter:
    """A process that judges one tree after the other."""

    def __enter__(self) -> Linter:
        command = [sys.executable, "-I", str(Path(__file__).with_name("contracts_side.py")), str(CONFIG)]
        variables = {**os.environ, "COLUMNS": "200"}
        self._process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate()

    def judge(self, directory: Path, contract: str) -> tuple[int, str]:
        """Return the exit status and what was said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(directory), contract]), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, "import-linter has ended"
        status, told = json.loads(answer)
        return status, told


@pytest.fixture(scope="module")
def linter() -> Iterator[Linter]:
    with Linter() as started:
        yield started


def write(directory: Path, modules: dict[str, str]) -> None:
    """Write modules below the directory."""
    for name, text in modules.items():
        path = directory.joinpath(*name.split("."), "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_the_outline_itself_keeps_every_contract(tmp_path: Path) -> None:
    write(tmp_path, OUTLINE)
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache", "--config", str(CONFIG)]
    variables = {**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "200"}
    answer = subprocess.run(command, check=False, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "0 broken" in answer.stdout


@pytest.mark.parametrize("contract", sorted({contract for contract, _, _ in BREACHES}))
def test_without_a_breach_none_is_found(linter: Linter, tmp_path: Path, contract: str) -> None:
    write(tmp_path, OUTLINE)
    status, told = linter.judge(tmp_path, contract)
    assert status == 0, told
    assert "1 kept, 0 broken" in told


@pytest.mark.parametrize(("contract", "module", "text"), BREACHES, ids=lambda value: value or "unlisted")
def test_a_breach_is_found(linter: Linter, tmp_path: Path, contract: str, module: str, text: str) -> None:
    write(tmp_path, {**OUTLINE, module: f"{OUTLINE.get(module, '')}\n{text}"})
    status, told = linter.judge(tmp_path, contract)
    assert status == 1, told
    assert "1 broken" in told
