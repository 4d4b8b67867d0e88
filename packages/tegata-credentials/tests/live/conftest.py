"""A PostgreSQL that asks for passwords, the roles of a pair, and their secrets at the stand-in."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tegata.testing.password_server import PasswordServer, password_server
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.testing.secrets_manager import StandIn


@pytest.fixture(scope="session")
def live_database() -> Iterator[PasswordServer]:
    with password_server() as server:
        yield server


@dataclass(frozen=True, slots=True)
class LivePair:
    """Two logins that take turns, in the database and at the stand-in."""

    pair: LoginPair
    database: PasswordServer
    arn: str
    name: str
    rotator: str

    def url(self, driver: str = "") -> str:
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        return f"{scheme}://{self.pair.group}@127.0.0.1:{self.database.port}/postgres"


@pytest.fixture
def live_pair(live_database: PasswordServer, stand_in: StandIn) -> LivePair:
    pair = LoginPair.of(f"live_{secrets.token_hex(4)}")
    for statement in setup_statements(pair, f"{pair.group}_rotator"):
        live_database.execute(statement)
    client = stand_in.client()
    name, rotator = f"{pair.group}-secret-database", f"{pair.group}-secret-rotator"
    value = json.dumps(live_database.give_password(f"{pair.group}_rotator"))
    client.create_secret(Name=rotator, SecretString=value)
    arn = client.create_secret(Name=name, SecretString=json.dumps(live_database.give_password(pair.first)))["ARN"]
    client.close()
    return LivePair(pair, live_database, arn, name, rotator)
