"""Mistakes of operation that take a wall away without a word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tegata.app import Development
from tegata.crypto.envelope import Envelope, new_master_key
from tegata.flows.admin import keys
from tegata.flows.admin.keys import KeyMaker
from tegata.postgres.storage import PostgresStorage
from tegata.settings import Settings, SettingsError, check_for_production
from tegata.storage.errors import StorageError
from tegata.testing.clock import SetClock
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.memory import MemoryStorage
from tegata.testing.records import Inhabited, inhabit
from tegata.testing.server import serving
from tegata.web.developer import DeveloperPages
from tegata.web.pages import LandingPage, PlaygroundPage

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "url",
    [
        "host=db.example.com user=tegata_app dbname=tegata",
        "postgresql:///tegata?host=db.example.com&user=tegata_app",
        "postgresql://localhost/tegata?host=db.example.com",
        "postgresql://tegata_app@/tegata?hostaddr=192.0.2.1",
    ],
)
def test_a_remote_database_without_verified_tls_is_refused_however_it_is_written(url: str) -> None:
    values: dict[str, Any] = {
        "base_url": "https://id.example.com",
        "master_key": SecretStr(new_master_key()),
        "database_url": SecretStr(url),
    }
    with pytest.raises(SettingsError, match="verify-full"):
        check_for_production(Settings(**values))


@pytest.mark.parametrize(
    "base_url",
    [
        "https://id.example.com/auth",
        "https://id.example.com\n",
        "https://id.example.com?",
    ],
)
def test_a_base_url_that_pages_and_issuers_cannot_be_built_on_is_refused(base_url: str) -> None:
    """Pages redirect to /{tenant}/..., which under a path prefix is somebody else's address."""
    values: dict[str, Any] = {
        "base_url": base_url,
        "master_key": SecretStr(new_master_key()),
        "database_url": SecretStr("postgresql://localhost/tegata"),
    }
    with pytest.raises(SettingsError, match="TEGATA_BASE_URL"):
        check_for_production(Settings(**values))


@pytest.mark.parametrize("way", ["admin", "owner", "maintenance"])
async def test_the_server_does_not_start_as_a_role_that_row_level_security_does_not_bind(
    migrated_database: MigratedDatabase, way: str
) -> None:
    """Pitfalls P14: the wrong one of three URLs in a secret, and the wall is gone."""
    storage = PostgresStorage(getattr(migrated_database, way))
    try:
        with pytest.raises(StorageError, match="application role"):
            await storage.check()
    finally:
        await storage.close()


async def test_an_administrator_who_takes_the_application_role_is_as_good(migrated_database: MigratedDatabase) -> None:
    """`tegata dev` on somebody's own server has no other way in."""
    storage = PostgresStorage(migrated_database.admin.taking_role("tegata_app"))
    try:
        await storage.check()
    finally:
        await storage.close()


@pytest.fixture
async def tenant() -> tuple[MemoryStorage, Inhabited, KeyMaker, SetClock]:
    clock = SetClock()
    storage = MemoryStorage(clock)
    return storage, await inhabit(storage), KeyMaker(Envelope.from_text(new_master_key()), clock), clock


async def test_who_lets_a_key_sign_before_every_cached_jwks_has_it_is_told(
    tenant: tuple[MemoryStorage, Inhabited, KeyMaker, SetClock],
) -> None:
    """Pitfalls P62: a JWKS is kept for 300 s by others and for 30 s by other workers of ours."""
    storage, here, maker, clock = tenant
    early = []
    for seconds in (0, 1, keys.PUBLISHED_SECONDS - 1, keys.PUBLISHED_SECONDS):
        clock.advance(seconds)
        (rotation,) = await keys.rotate(storage, maker, here.name, ["ES256"])
        assert rotation.outcome == "rotated"
        early.append(rotation.early_seconds)
    assert early == [keys.PUBLISHED_SECONDS, keys.PUBLISHED_SECONDS - 1, 1, 0]


async def test_a_server_with_a_wrong_master_key_gets_no_traffic() -> None:
    """Pitfalls P102: ready, and every request for a token a fault."""
    async with serving() as server:
        await server.app.stop()
        wrong = server.app._settings.model_copy(update={"master_key": SecretStr(new_master_key())})
        server.app._settings = wrong
        await server.app.start()
        assert (await server.request("GET", "/readyz")).status == 200  # nothing is known yet
        with capture_logs() as told:
            assert (await server.request("GET", "/acme/jwks")).status == 503
        assert "signing_key_not_opened" in [entry["event"] for entry in told]
        assert (await server.request("GET", "/readyz")).status == 503
        assert (await server.request("GET", "/livez")).status == 200


async def test_one_tenant_with_a_broken_key_takes_no_other_down() -> None:
    async with serving() as server:
        assert (await server.request("GET", "/other/jwks")).status == 200
        tables = server.storage._state.of(server.tenants["acme"].tenant_id)
        for kid, key in tables.keys.items():
            tables.keys[kid] = replace(key, sealed_private_key=b"broken")
        server.services.directory.changed(None, "all", "")
        assert (await server.request("GET", "/acme/jwks")).status == 503
        assert (await server.request("GET", "/other/jwks")).status == 200
        assert (await server.request("GET", "/readyz")).status == 200


@pytest.mark.parametrize("path", ["/", "/playground"])
async def test_the_pages_of_development_answer_to_their_own_name_only(path: str) -> None:
    """DNS rebinding: a page of another site whose name leads to 127.0.0.1 would read the demo passwords."""
    here = "http://127.0.0.1:8080"
    pages = DeveloperPages(
        LandingPage(here, ()),
        PlaygroundPage(
            here, "/authorize", "/token", "/userinfo", "/end_session", "spa", f"{here}/playground", "/example-api"
        ),
    )
    async with serving(base_url=here, development=Development(pages)) as server:
        for host in ("127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST:8080"):
            assert (await server.request("GET", path, headers={"host": host})).status == 200, host
        for host in ("evil.example:8080", "127.0.0.1", "127.0.0.1:9090", "127.0.0.1:8080.evil.example", ""):
            assert (await server.request("GET", path, headers={"host": host})).status == 421, host
