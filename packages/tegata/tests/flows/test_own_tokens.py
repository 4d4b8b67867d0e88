"""The memory of verified signatures: it saves work and never outlives the keys."""

from __future__ import annotations

import pytest

from tegata.crypto.keys import generate_key, private_bytes, public_jwk
from tegata.flows.directory import SIGNING_KEY_PURPOSE
from tegata.flows.own_tokens import OwnTokens
from tegata.storage.records import AuditEvent, SigningKeyRecord
from tegata.testing.relying_party import RelyingParty
from tegata.testing.server import Server

pytestmark = pytest.mark.anyio

EVENT = AuditEvent("01a1fc29-0f96-74af-801f-75bd69229c0f", 0.0, "keys.rotated", "success")


async def replace_key(server: Server, tenant: str = "acme") -> None:
    """Rotate the ES256 key and drop the one before at once: what was signed with it is nobody's any more."""
    tenant_id = server.tenants[tenant].tenant_id
    for _ in range(2):
        now = server.clock()
        key = generate_key("ES256")
        sealed = server.envelope.seal(private_bytes(key), tenant=str(tenant_id), purpose=SIGNING_KEY_PURPOSE)
        record = SigningKeyRecord(public_jwk(key)["kid"], "ES256", "next", public_jwk(key), sealed, now, now)
        if any(known.state == "next" for known in await server.storage.signing_keys(tenant_id)):
            assert await server.storage.rotate_keys(tenant_id, "ES256", record, now=now, event=EVENT)
        else:
            await server.storage.add_key(tenant_id, record, events=())
    await server.storage.drop_previous_keys(tenant_id, older_than=server.clock() + 1, event=EVENT)


async def test_a_remembered_signature_does_not_outlive_the_removal_of_its_key(
    server: Server, own: RelyingParty
) -> None:
    token = (await own.sign_in())["access_token"]
    assert (await own.introspect(token))["active"]
    assert (await own.introspect(token))["active"]
    await replace_key(server)
    assert not (await own.introspect(token))["active"]
    assert (await own.userinfo(token)).status == 401
    assert (await own.introspect((await own.sign_in())["access_token"]))["active"]


async def test_another_tenants_rotation_disturbs_nothing(server: Server, own: RelyingParty) -> None:
    token = (await own.sign_in())["access_token"]
    await replace_key(server, "other")
    assert (await own.introspect(token))["active"]


async def test_a_good_signature_is_verified_once_for_a_set_of_keys(server: Server, own: RelyingParty) -> None:
    tokens, remembering = await own.sign_in(), OwnTokens(max_entries=2)
    loaded = await server.services.directory.find_tenant("acme")
    assert loaded is not None
    first = remembering.access_token_claims(loaded, tokens["access_token"])
    assert first is not None
    assert remembering.access_token_claims(loaded, tokens["access_token"]) is first


async def test_the_memory_is_bounded_and_keeps_no_bad_tokens(server: Server, own: RelyingParty) -> None:
    remembering = OwnTokens(max_entries=2)
    loaded = await server.services.directory.find_tenant("acme")
    assert loaded is not None
    issued = [(await own.sign_in())["access_token"] for _ in range(4)]
    for token in [*issued, "a.b.c", *(f"{token[:-4]}AAAA" for token in issued)]:
        remembering.access_token_claims(loaded, token)
    assert len(remembering._verified) == 2
    assert remembering.access_token_claims(loaded, issued[0]) is not None


async def test_an_id_token_is_no_access_token_and_the_reverse(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in()
    loaded = await server.services.directory.find_tenant("acme")
    assert loaded is not None
    assert server.services.own_tokens.access_token_claims(loaded, tokens["id_token"]) is None
    assert server.services.own_tokens.hint_claims(loaded, tokens["access_token"]) is None
    assert server.services.own_tokens.hint_claims(loaded, tokens["id_token"]) is not None


async def test_a_token_of_the_same_key_and_another_issuer_is_refused(server: Server, own: RelyingParty) -> None:
    """Should two tenants ever share a key, the issuer still tells them apart."""
    loaded = await server.services.directory.find_tenant("acme")
    assert loaded is not None
    forged = loaded.signer("ES256").sign({"iss": "https://id.example.com/other", "sub": "x"}, typ="at+jwt")
    assert server.services.own_tokens.access_token_claims(loaded, forged) is None
