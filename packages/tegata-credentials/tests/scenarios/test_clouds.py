"""Each place a program may run in: App Service, a virtual machine, a pod; and what its metadata service answers."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from typing import Any

import pytest

from tegata_credentials import asyncpg as our_asyncpg
from tegata_credentials.azure import default_credential, managed_identity
from tegata_credentials.errors import IdentityUnavailable
from tegata_credentials.testing import SYSTEM_ASSIGNED, Answer, Laboratory
from tegata_credentials.tokens import RefreshPolicy, TokenSource

pytestmark = pytest.mark.anyio

PLACES = {
    "App Service": lambda lab: lab.app_service(),
    "a virtual machine": lambda lab: lab.virtual_machine(),
    "a pod": lambda lab: lab.workload("client-of-pod") | {"REQUESTS_CA_BUNDLE": str(lab.authority.root)},
}
FORMS = {"App Service": "app_service", "a virtual machine": "imds", "a pod": "workload"}


@pytest.fixture
def settle(azure: pytest.MonkeyPatch, lab: Laboratory) -> Any:
    """Leave App Service and move to another place."""

    def move(place: str) -> None:
        for variable in lab.app_service():
            azure.delenv(variable)
        for variable, value in PLACES[place](lab).items():
            azure.setenv(variable, value)
        lab.identity.identities["client-of-pod"] = SYSTEM_ASSIGNED

    return move


async def log_in(database: Any, tokens: TokenSource, role: str = "app") -> None:
    connection = await our_asyncpg.connect(database.verified_url(role), password=tokens)
    assert await connection.fetchval("select current_user") == role
    await connection.close()


@pytest.mark.parametrize("make", [managed_identity, default_credential], ids=["by name", "whatever is there"])
@pytest.mark.parametrize("place", PLACES)
async def test_a_login_works_in_every_place_and_survives_a_revocation(
    place: str, make: Any, lab: Laboratory, database: Any, settle: Any, count: Any
) -> None:
    settle(place)
    tokens = TokenSource(make(), auth_method="managed_identity")
    await log_in(database, tokens)
    lab.issuer.revoke_all()
    await log_in(database, tokens)
    await tokens.close()
    assert [bind.reason for bind in lab.binds] == [None, "revoked", None]
    assert [(call.form, call.status) for call in lab.calls] == [(FORMS[place], 200)] * 2
    count(f"login in {place}, {make.__name__}", logins=2, errors=0, identity_calls=len(lab.calls))


@pytest.mark.parametrize("place", ["App Service", "a virtual machine"])
async def test_a_user_assigned_identity_is_another_one(place: str, lab: Laboratory, database: Any, settle: Any) -> None:
    settle(place)
    database.create_role("billing")
    lab.map_role("billing", "object-of-billing")
    lab.identity.identities["client-of-billing"] = "object-of-billing"
    tokens = TokenSource(managed_identity("client-of-billing"), auth_method="managed_identity")
    await log_in(database, tokens, "billing")
    await tokens.close()
    assert [call.parameters["client_id"] for call in lab.calls] == ["client-of-billing"]


async def test_an_identity_that_is_not_assigned_is_a_clear_error(
    lab: Laboratory, database: Any, overheard: Any
) -> None:
    tokens = TokenSource(managed_identity("nobody"), auth_method="managed_identity")
    with pytest.raises(IdentityUnavailable) as caught:
        await log_in(database, tokens)
    assert overheard.caught(caught.value).reason in ("refused", "not_configured")
    await tokens.close()
    assert lab.binds == []


async def test_the_token_of_a_pod_goes_to_nobody_whose_certificate_is_not_trusted(
    lab: Laboratory, database: Any, settle: Any, azure: pytest.MonkeyPatch, overheard: Any
) -> None:
    settle("a pod")
    azure.delenv("REQUESTS_CA_BUNDLE")
    tokens = TokenSource(managed_identity(), auth_method="managed_identity")
    with pytest.raises(IdentityUnavailable) as caught:
        await log_in(database, tokens)
    overheard.caught(caught.value)
    await tokens.close()
    assert lab.identity.calls == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(429, {"error": "busy"}, headers={"retry-after": "3600"}), id="come back in an hour"),
        pytest.param(Answer(410, b"", "text/plain"), id="being updated"),
        pytest.param(Answer(404, b"", "text/plain"), id="not there yet"),
        pytest.param(Answer(503, b"", "text/plain", {"retry-after": "600"}), id="come back in ten minutes"),
    ],
)
@pytest.mark.parametrize("place", ["App Service", "a virtual machine"])
async def test_a_metadata_service_that_asks_for_patience_does_not_hold_the_login_up(
    place: str, answer: Answer, lab: Laboratory, database: Any, settle: Any, overheard: Any
) -> None:
    settle(place)
    lab.identity.behaviour.answer = answer
    tokens = TokenSource(managed_identity(), auth_method="managed_identity", policy=RefreshPolicy(fetch_timeout=60))
    with pytest.raises(IdentityUnavailable) as caught:
        await asyncio.wait_for(log_in(database, tokens), 120)
    assert overheard.caught(caught.value).reason == "failing"
    await tokens.close()
    latest = time.monotonic() + 60
    while _fetching() and time.monotonic() < latest:
        await asyncio.sleep(0.05)
    assert _fetching() == [], "a thread goes on waiting as long as the metadata service wishes"


def _fetching() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "tegata-token"]


async def test_a_database_under_another_name_gets_no_token(lab: Laboratory, database: Any, overheard: Any) -> None:
    tokens = TokenSource(managed_identity(), auth_method="managed_identity")
    elsewhere = database.verified_url("app").replace("127.0.0.1", "localhost")
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        await our_asyncpg.connect(elsewhere, password=tokens)
    overheard.caught(caught.value)
    assert lab.binds == []
    await tokens.close()
