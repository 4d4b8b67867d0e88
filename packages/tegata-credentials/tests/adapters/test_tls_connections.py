"""TLS against a real server: the right authority and name connect, everything else is refused.

`127.1` and `127.2` are loopback in a spelling that the rules take for other machines; see `conftest`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tegata_credentials import CredentialError

pytestmark = pytest.mark.anyio

REFUSED = r"(?i)certificate|SSL|TLS|hostname|IP address"


@pytest.fixture(autouse=True)
def password(request: pytest.FixtureRequest) -> None:
    for name in ("server_15", "server_18"):
        if name in request.fixturenames:
            request.getfixturevalue(name).set_password("first")


def where(adapter, server, host: str = "127.1", query: str = "") -> str:
    return server.url(host, adapter.driver, query=query)


async def test_the_right_authority_and_name_connect(adapter, server_15, authority, identity):
    query = f"?sslrootcert={authority.root}"
    assert await adapter.login(where(adapter, server_15, query=query), adapter.source(identity)) == "app"


async def test_verify_full_in_so_many_words_is_the_same(adapter, server_15, authority, identity):
    query = f"?sslmode=verify-full&sslrootcert={authority.root}"
    assert await adapter.login(where(adapter, server_15, query=query), adapter.source(identity)) == "app"


async def test_the_environment_may_name_the_authority(direct_adapter, server_15, authority, identity, monkeypatch):
    monkeypatch.setenv("PGSSLROOTCERT", str(authority.root))
    assert await direct_adapter.login(where(direct_adapter, server_15), direct_adapter.source(identity)) == "app"


async def test_the_home_directory_may_hold_the_authority(direct_adapter, server_15, authority, identity, tmp_path):
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_bytes(authority.root.read_bytes())
    assert await direct_adapter.login(where(direct_adapter, server_15), direct_adapter.source(identity)) == "app"


@pytest.mark.parametrize("query", ["", "?sslrootcert=system"], ids=["nothing said", "sslrootcert=system"])
async def test_the_store_of_the_system_is_used_otherwise(
    direct_adapter, server_15, authority, identity, monkeypatch, query
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))  # where OpenSSL looks for its store
    url = where(direct_adapter, server_15, query=query)
    assert await direct_adapter.login(url, direct_adapter.source(identity)) == "app"


async def test_an_unknown_authority_is_refused_with_advice(direct_adapter, server_15, identity):
    with pytest.raises(Exception, match=REFUSED) as caught:
        await direct_adapter.login(where(direct_adapter, server_15), direct_adapter.source(identity))
    assert "sslrootcert" in " ".join(notes(caught.value))


async def test_the_advice_for_aws_names_amazons_bundle(direct_adapter, server_15, identity):
    with pytest.raises(Exception, match=REFUSED) as caught:
        await direct_adapter.login(where(direct_adapter, server_15), direct_adapter.source(identity, "aws_iam"))
    assert "global-bundle.pem" in " ".join(notes(caught.value))


async def test_another_authority_is_refused(direct_adapter, server_15, other_authority, identity):
    query = f"?sslrootcert={other_authority.root}"
    with pytest.raises(Exception, match=REFUSED):
        await direct_adapter.login(where(direct_adapter, server_15, query=query), direct_adapter.source(identity))


async def test_another_name_is_refused(direct_adapter, server_15, authority, identity):
    url = where(direct_adapter, server_15, "127.2", f"?sslrootcert={authority.root}")
    with pytest.raises(Exception, match=REFUSED):
        await direct_adapter.login(url, direct_adapter.source(identity))


async def test_a_server_without_tls_is_refused(direct_adapter, server_18, authority, identity):
    with pytest.raises(Exception, match=REFUSED):
        await direct_adapter.login(
            where(direct_adapter, server_18, query=f"?sslrootcert={authority.root}"), direct_adapter.source(identity)
        )


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
async def test_a_weaker_mode_in_the_url_is_refused_before_anything_is_sent(adapter, server_15, identity, mode):
    with pytest.raises(CredentialError, match="verify-full"):
        await adapter.login(where(adapter, server_15, query=f"?sslmode={mode}"), adapter.source(identity))
    assert identity.fetches == 0


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require"])
async def test_pgsslmode_cannot_weaken(direct_adapter, server_18, identity, monkeypatch, mode):
    monkeypatch.setenv("PGSSLMODE", mode)
    with pytest.raises(Exception, match=REFUSED):
        await direct_adapter.login(where(direct_adapter, server_18), direct_adapter.source(identity))


async def test_a_service_file_cannot_weaken(driver_adapter, server_18, identity, monkeypatch, tmp_path: Path):
    services = tmp_path / "services"
    services.write_text(f"[db]\nhost=127.1\nport={server_18.admin.port}\nuser=app\ndbname=postgres\nsslmode=disable\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    with pytest.raises(Exception, match=REFUSED):
        await driver_adapter.login("postgresql://?service=db", driver_adapter.source(identity))


async def test_a_service_file_cannot_move_a_local_host_elsewhere(
    direct_adapter, server_18, identity, monkeypatch, tmp_path: Path
):
    services = tmp_path / "services"
    services.write_text("[db]\nhostaddr=127.0.0.1\nsslmode=disable\n")
    monkeypatch.setenv("PGSERVICEFILE", str(services))
    monkeypatch.setenv("PGSERVICE", "db")
    with pytest.raises(Exception, match=REFUSED):
        await direct_adapter.login(server_18.url(driver=direct_adapter.driver), direct_adapter.source(identity))


async def test_the_caller_may_permit_what_is_weaker(adapter, server_18, identity):
    url = where(adapter, server_18, query="?sslmode=disable")
    assert await adapter.login(url, adapter.source(identity), allow_unverified_tls=True) == "app"


async def test_the_permission_alone_changes_nothing(direct_adapter, server_18, identity):
    with pytest.raises(Exception, match=REFUSED):
        await direct_adapter.login(
            where(direct_adapter, server_18), direct_adapter.source(identity), allow_unverified_tls=True
        )


async def test_loopback_needs_no_tls(adapter, server_18, identity):
    for host in ("127.0.0.1", "localhost"):
        assert await adapter.login(where(adapter, server_18, host), adapter.source(identity)) == "app"


async def test_loopback_may_have_any_mode(adapter, server_15, identity):
    url = where(adapter, server_15, "127.0.0.1", "?sslmode=require")
    assert await adapter.login(url, adapter.source(identity)) == "app"


async def test_a_missing_file_of_roots_is_named(direct_adapter, server_15, identity):
    url = where(direct_adapter, server_15, query="?sslrootcert=/nowhere/root.crt")
    with pytest.raises(Exception, match=r"sslrootcert|root certificate file"):
        await direct_adapter.login(url, direct_adapter.source(identity))


def notes(error: BaseException | None) -> list[str]:
    """The advice attached to an error, or to the one that SQLAlchemy has wrapped."""
    found: list[str] = []
    while error is not None:
        found += getattr(error, "__notes__", [])
        error = getattr(error, "orig", None) or error.__cause__
    return found
