"""The token endpoint as a whole: which requests it takes, what it audits, and who is let in."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tegata.crypto.digests import digest_of
from tegata.protocol.client import Client, ClientSecret
from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import Reply, Server

pytestmark = pytest.mark.anyio

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def basic(client_id: str, secret: str) -> dict[str, str]:
    """Return an Authorization header."""
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


async def ask(server: Server, headers: dict[str, str] | None = None, **fields: str) -> Reply:
    """Ask for a refresh with a token nobody gave: `invalid_grant` says that the client was let in."""
    form = {"grant_type": "refresh_token", "refresh_token": "made up", **fields}
    return await server.request("POST", "/acme/token", fields=form, headers=headers)


async def test_each_method_lets_its_client_in(server: Server) -> None:
    for client_id in ("web", "post", "jwt", "spa"):
        reply = await RelyingParty(server, client_id).refresh("made up")
        assert reply.json["error"] == "invalid_grant", client_id


async def test_a_client_is_let_in_by_its_registered_method_only(server: Server) -> None:
    secrets = server.tenants["acme"].secrets
    wrong: dict[str, tuple[dict[str, str], dict[str, str]]] = {
        "basic client by body": ({}, {"client_id": "web", "client_secret": secrets["web"]}),
        "basic client without a secret": ({}, {"client_id": "web"}),
        "post client by header": (basic("post", secrets["post"]), {}),
        "post client without a secret": ({}, {"client_id": "post"}),
        "public client with a secret": ({}, {"client_id": "spa", "client_secret": "x"}),
        "public client by header": (basic("spa", ""), {}),
        "assertion client without one": ({}, {"client_id": "jwt"}),
        "assertion client by secret": (basic("jwt", "x"), {}),
        "nobody": ({}, {}),
        "an unknown client": (basic("nobody", "x"), {}),
        "a disabled client": (basic("closed", secrets["closed"]), {}),
        "a wrong secret": (basic("web", "x"), {}),
        "an empty secret": (basic("web", ""), {}),
        "another client's secret": (basic("web", secrets["own"]), {}),
        "another tenant's secret": (basic("web", server.tenants["other"].secrets["web"]), {}),
        "Bearer": ({"authorization": "Bearer " + secrets["web"]}, {}),
        "not base64": ({"authorization": "Basic *"}, {}),
        "no colon": ({"authorization": "Basic " + base64.b64encode(b"web").decode()}, {}),
    }
    for name, (headers, fields) in wrong.items():
        reply = await ask(server, headers, **fields)
        assert (reply.status, reply.json["error"]) == (401, "invalid_client"), name
        assert (reply.header("www-authenticate") or "").startswith("Basic "), name
    refusals = {event.type for event in await server.audit()}
    assert refusals == {"token.refused"}


async def test_an_unknown_client_and_a_wrong_secret_get_the_same_answer(server: Server) -> None:
    replies = [await ask(server, basic(client_id, "wrong")) for client_id in ("web", "nobody", "closed", "spa")]
    assert len({reply.body for reply in replies}) == 1


async def test_two_ways_of_authentication_at_once_are_refused(server: Server) -> None:
    secrets = server.tenants["acme"].secrets
    assertion = server.tenants["acme"].assertion(server.clock())
    both = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    for headers, fields in (
        (basic("web", secrets["web"]), {"client_secret": secrets["web"]}),
        (basic("web", secrets["web"]), both),
        ({}, {"client_id": "post", "client_secret": secrets["post"], **both}),
        (basic("web", secrets["web"]), {"client_id": "own"}),
    ):
        reply = await ask(server, headers, **fields)
        assert (reply.status, reply.json["error"]) == (400, "invalid_request")


async def test_secrets_with_reserved_characters_are_form_encoded(server: Server) -> None:
    tenant_id = server.tenants["acme"].tenant_id
    client = await server.storage.find_client(tenant_id, "web")
    assert client is not None
    secret = "a:b+c %/é"
    changed = Client("web", client.metadata, (ClientSecret(digest_of(secret)),))
    await server.storage.put_client(tenant_id, changed, events=())
    server.tenants["acme"].secrets["web"] = secret
    assert (await RelyingParty(server).refresh("made up")).json["error"] == "invalid_grant"


async def test_two_secrets_live_side_by_side_until_one_expires(server: Server) -> None:
    tenant_id = server.tenants["acme"].tenant_id
    client = await server.storage.find_client(tenant_id, "web")
    assert client is not None
    secrets = (ClientSecret(digest_of("old"), server.clock() + 100), ClientSecret(digest_of("new")))
    await server.storage.put_client(tenant_id, Client("web", client.metadata, secrets), events=())
    for secret in ("old", "new"):
        assert (await ask(server, basic("web", secret))).json["error"] == "invalid_grant"
    server.clock.advance(100)
    assert (await ask(server, basic("web", "old"))).json["error"] == "invalid_client"
    assert (await ask(server, basic("web", "new"))).json["error"] == "invalid_grant"


async def test_an_assertion_works_once(server: Server) -> None:
    fields = {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": server.tenants["acme"].assertion(server.clock()),
    }
    assert (await ask(server, **fields)).json["error"] == "invalid_grant"
    for endpoint in ("token", "introspect", "revoke"):
        form = {"grant_type": "refresh_token", "refresh_token": "x", "token": "x", **fields}
        reply = await server.request("POST", f"/acme/{endpoint}", fields=form)
        assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    assert "token.refused assertion_replayed" in await server.reasons()


async def test_a_refused_assertion_does_not_use_its_identifier_up(server: Server) -> None:
    acme, now = server.tenants["acme"], server.clock()
    wrong = acme.assertion(now, jti="same", aud="https://elsewhere.example")
    right = acme.assertion(now, jti="same")
    for assertion, error in ((wrong, "invalid_client"), (right, "invalid_grant")):
        fields = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        assert (await ask(server, **fields)).json["error"] == error


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        pytest.param({"aud": "https://elsewhere.example"}, "assertion_audience", id="another audience"),
        pytest.param({"aud": None}, "assertion_audience", id="no audience"),
        pytest.param({"iss": "web"}, "assertion_client_mismatch", id="another issuer"),
        pytest.param({"sub": "web"}, "client_authentication_method", id="another subject"),
        pytest.param({"exp": 1_799_999_900}, "assertion_expired", id="expired"),
        pytest.param({"exp": 1_900_000_000}, "assertion_lives_too_long", id="good for years"),
        pytest.param({"exp": None}, "assertion_expired", id="without an end"),
        pytest.param({"exp": "soon"}, "assertion_malformed", id="an end in words"),
        pytest.param({"nbf": 1_800_000_300}, "assertion_from_the_future", id="not yet"),
        pytest.param({"jti": None}, "assertion_without_jti", id="without a jti"),
        pytest.param({"jti": 5}, "assertion_without_jti", id="a jti that is no text"),
        pytest.param({"jti": "x" * 300}, "assertion_without_jti", id="an endless jti"),
    ],
)
async def test_an_assertion_with_wrong_claims_is_refused(server: Server, claims: dict[str, Any], reason: str) -> None:
    assertion = server.tenants["acme"].assertion(server.clock(), **claims)
    reply = await ask(server, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion)
    assert (reply.status, reply.json["error"]) == (401, "invalid_client")
    assert await server.reasons() == [f"token.refused {reason}"]


async def test_an_assertion_by_another_key_or_for_another_tenant_is_refused(server: Server) -> None:
    acme, other, now = server.tenants["acme"], server.tenants["other"], server.clock()
    foreign_key = other.assertion(now, aud=acme.issuer)
    for_other = acme.assertion(now, aud=other.issuer)
    header, claims, signature = acme.assertion(now).split(".")
    unsigned = f"eyJhbGciOiJub25lIn0.{claims}."
    changed = f"{header}.{claims}.{signature[:-8]}AAAAAAAA"
    for assertion in (foreign_key, for_other, unsigned, changed, "", "a.b.c", "x" * 20_000):
        reply = await ask(server, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion)
        assert reply.json["error"] in {"invalid_client", "invalid_request"}
        assert reply.status in {400, 401}


async def test_every_address_of_the_tenant_that_takes_assertions_is_an_audience(server: Server) -> None:
    acme = server.tenants["acme"]
    for audience in (acme.issuer, f"{acme.issuer}/token", [f"{acme.issuer}/token", "https://else.example"]):
        assertion = acme.assertion(server.clock(), aud=audience)
        reply = await ask(server, client_assertion_type=ASSERTION_TYPE, client_assertion=assertion)
        assert reply.json["error"] == "invalid_grant"
    assertion = acme.assertion(server.clock(), aud=f"{acme.issuer}/introspect")
    fields = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, "token": "x"}
    assert (await server.request("POST", "/acme/introspect", fields=fields)).json == {"active": False}


@pytest.mark.parametrize(
    ("grant_type", "error"),
    [
        pytest.param("password", "unsupported_grant_type", id="the password grant"),
        pytest.param("urn:ietf:params:oauth:grant-type:device_code", "unsupported_grant_type", id="not built yet"),
        pytest.param("client_credentials", "unauthorized_client", id="one the client may not use"),
        pytest.param("", "invalid_request", id="none"),
    ],
)
async def test_grant_types_that_cannot_be_used_are_named(web: RelyingParty, grant_type: str, error: str) -> None:
    assert (await web.call("token", grant_type=grant_type)).json["error"] == error


async def test_repeated_parameters_are_refused_before_anything_happens(server: Server, own: RelyingParty) -> None:
    code = (await own.authorize(Browser(server)))["code"]
    headers, _ = own.credentials()
    fields = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", own.redirect_uri)]
    pairs = [*fields, ("code_verifier", own.code_verifier), ("code_verifier", own.code_verifier)]
    reply = await server.request("POST", "/acme/token", fields=pairs, headers=headers)
    assert reply.json["error"] == "invalid_request"
    assert (await own.redeem(code)).status == 200


async def test_every_outcome_is_audited(server: Server, own: RelyingParty) -> None:
    tokens = await own.sign_in()
    await own.refresh(tokens["refresh_token"])
    await own.refresh("made up")
    await own.call("revoke", token=tokens["access_token"])
    events = await server.audit()
    assert [event.type for event in events] == [
        "sign_in.succeeded",
        "authorization.granted",
        "token.issued",
        "token.issued",
        "token.refused",
        "token.revoked",
    ]
    assert [event.details.get("grant_type") for event in events[2:4]] == ["authorization_code", "refresh_token"]
    assert {event.address for event in events} == {"192.0.2.1"}
    assert {event.client_id for event in events[1:]} == {"own"}
