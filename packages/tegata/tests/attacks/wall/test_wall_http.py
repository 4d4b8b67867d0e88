"""Everything of one tenant at every endpoint of another one. The endpoints are read from the router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from tegata.testing.clusters import Cluster
from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import CALLBACK, SIGNED_OUT, Reply, serving

from .loot import Loot, plunder

pytestmark = pytest.mark.anyio

Attack = Callable[[Loot, RelyingParty], Awaitable[bool]]  # whether it was refused as it should be
JWT_BEARER = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BEARERS = ("access token", "opaque token", "id token", "refresh token")


@pytest.fixture
async def loot(clusters: dict[str, Cluster]) -> AsyncIterator[Loot]:
    with clusters["18"].migrated_database() as database:
        async with serving(database=database) as server:
            yield await plunder(server)


def at(loot: Loot, client_id: str = "web") -> RelyingParty:
    """A client of `other` that talks to `acme` with its own credentials."""
    return RelyingParty(loot.server, client_id=client_id, tenant_name="other")


def error(reply: Reply, status: int, code: str) -> bool:
    return reply.status == status and reply.json.get("error") == code


async def strange_clients(loot: Loot, _: RelyingParty, endpoint: str, **fields: str) -> bool:
    """Each kind of client of `other`, with the credentials that are right there. A public one has none."""
    held = True
    for client_id in ("web", "post", "jwt", "service", "opaque"):
        reply = await at(loot, client_id).call(endpoint, tenant_name="acme", **fields)
        held = held and error(reply, 401, "invalid_client")
    return held


async def token_clients(loot: Loot, mine: RelyingParty) -> bool:
    return (
        await strange_clients(loot, mine, "token", grant_type="client_credentials")
        and await strange_clients(
            loot,
            mine,
            "token",
            grant_type="authorization_code",
            code=loot.values["code"],
            redirect_uri=CALLBACK,
            code_verifier=loot.values["code verifier"],
        )
        and await strange_clients(
            loot, mine, "token", grant_type="refresh_token", refresh_token=loot.values["refresh token"]
        )
    )


async def token_code(loot: Loot, mine: RelyingParty) -> bool:
    party = replace(mine, code_verifier=loot.values["code verifier"])
    return error(await party.redeem(loot.values["code"]), 400, "invalid_grant")


async def token_refresh(loot: Loot, mine: RelyingParty) -> bool:
    return error(await mine.refresh(loot.values["refresh token"]), 400, "invalid_grant")


async def token_confused(loot: Loot, mine: RelyingParty) -> bool:
    """Their things in places of other things."""
    held = True
    for name in ("access token", "opaque token", "id token", "session cookie", "interaction"):
        held = held and error(await mine.refresh(loot.values[name]), 400, "invalid_grant")
        held = held and error(await mine.redeem(loot.values[name]), 400, "invalid_grant")
    return held


async def token_assertion(loot: Loot, mine: RelyingParty) -> bool:
    theirs, now = loot.server.tenants["other"], loot.server.clock()
    acme = mine.tenant
    held = True
    for assertion in (
        theirs.assertion(now),
        theirs.assertion(now, aud=acme.issuer),
        theirs.assertion(now, aud=f"{acme.issuer}/token"),
        acme.assertion(now, aud=theirs.issuer),
    ):
        fields = {
            "client_assertion_type": JWT_BEARER,
            "client_assertion": assertion,
            "grant_type": "client_credentials",
        }
        reply = await loot.server.request("POST", "/acme/token", fields=fields)
        held = held and error(reply, 401, "invalid_client")
    return held


async def introspect_clients(loot: Loot, mine: RelyingParty) -> bool:
    return await strange_clients(loot, mine, "introspect", token=loot.values["access token"])


async def introspect_tokens(loot: Loot, mine: RelyingParty) -> bool:
    held = True
    for name in loot.values:
        for hint in (None, "access_token", "refresh_token"):
            reply = await mine.call("introspect", token=loot.values[name], token_type_hint=hint)
            held = held and reply.status == 200 and reply.json == {"active": False}
    return held


async def revoke_clients(loot: Loot, mine: RelyingParty) -> bool:
    return await strange_clients(loot, mine, "revoke", token=loot.values["refresh token"])


async def revoke_tokens(loot: Loot, mine: RelyingParty) -> bool:
    """RFC 7009 §2.2: 200 whatever the token is. That nothing was revoked is seen at the end."""
    replies = [await mine.call("revoke", token=loot.values[name]) for name in loot.values]
    return all(reply.status == 200 and reply.json == {} for reply in replies)


async def userinfo_get(loot: Loot, mine: RelyingParty) -> bool:
    replies = [await mine.userinfo(loot.values[name]) for name in BEARERS]
    return all(error(reply, 401, "invalid_token") for reply in replies)


async def userinfo_post(loot: Loot, mine: RelyingParty) -> bool:
    held = True
    for name in BEARERS:
        reply = await loot.server.request("POST", "/acme/userinfo", fields={"access_token": loot.values[name]})
        held = held and error(reply, 401, "invalid_token")
    return held


def public(endpoint: str) -> Attack:
    async def read(loot: Loot, mine: RelyingParty) -> bool:
        """Nothing that is sent along changes a public document, and it speaks of one tenant."""
        plain = await loot.server.request("GET", f"/acme/{endpoint}")
        headers = {"cookie": loot.cookie_header, "authorization": f"Bearer {loot.values['access token']}"}
        dressed = await loot.server.request("GET", f"/acme/{endpoint}", headers={**headers, "host": "id.example.com"})
        return plain.status == 200 and plain.body == dressed.body

    return read


async def authorize_session(loot: Loot, mine: RelyingParty) -> bool:
    """Their cookies, under their names and under mine, sign nobody in."""
    held = True
    for cookies in (loot.cookies, loot.browser.cookies):
        for method in ("GET", "POST"):
            silent = await authorize(loot, mine, method, cookies, prompt="none")
            held = held and mine.answer(silent).get("error") == "login_required"
            held = held and "/acme/sign-in?" in (await authorize(loot, mine, method, cookies)).url
    return held


async def authorize_hint(loot: Loot, mine: RelyingParty) -> bool:
    """OIDC Core §3.1.2.1. Their ID token is no hint here, and does not let their user in."""
    held = True
    for name in ("id token", "access token"):
        for method in ("GET", "POST"):
            for cookies in ({}, loot.cookies):
                hint = loot.values[name]
                reply = await authorize(loot, mine, method, cookies, prompt="none", id_token_hint=hint)
                held = held and mine.answer(reply).get("error") in {"login_required", "invalid_request"}
    return held


async def authorize(
    loot: Loot, mine: RelyingParty, method: str, cookies: Mapping[str, str], **changes: str | None
) -> Reply:
    browser = Browser(loot.server)
    browser.cookies.update(cookies)
    if method == "GET":
        return await browser.get(mine.url(**changes))
    return await browser.post("/acme/authorize", mine.request(**changes))


def page(method: str, endpoint: str) -> Attack:
    async def visit(loot: Loot, mine: RelyingParty) -> bool:
        """Their request that waits is none of this tenant's: an error page, whatever else is sent."""
        target = f"/acme/{endpoint}?{urlencode({'interaction': loot.values['interaction']})}"
        fields = {
            "username": "taro",
            "password": "correct horse battery staple",
            "decision": "approve",
            "csrf_token": loot.values["form token"],
            "interaction": loot.values["interaction"],
            "account": loot.values["subject"],
        }
        held = True
        for headers in ({}, {"cookie": loot.cookie_header}):
            if method == "GET":
                reply = await loot.server.request("GET", target, headers=headers)
            else:
                reply = await loot.server.request("POST", target, fields=fields, headers=headers)
            held = held and 400 <= reply.status < 500
        return held

    return visit


async def end_session(loot: Loot, mine: RelyingParty, method: str) -> bool:
    """Their hint and cookies end nothing here, and lead nowhere."""
    fields = {
        "id_token_hint": loot.values["id token"],
        "client_id": "web",
        "post_logout_redirect_uri": SIGNED_OUT,
        "state": "s",
    }
    held = True
    for headers in ({}, {"cookie": loot.cookie_header}):
        if method == "GET":
            reply = await loot.server.request("GET", f"/acme/end_session?{urlencode(fields)}", headers=headers)
        else:
            reply = await loot.server.request("POST", "/acme/end_session", fields=fields, headers=headers)
        held = held and not (reply.location or "").startswith(SIGNED_OUT)
    return held


async def end_session_get(loot: Loot, mine: RelyingParty) -> bool:
    return await end_session(loot, mine, "GET")


async def end_session_post(loot: Loot, mine: RelyingParty) -> bool:
    return await end_session(loot, mine, "POST")


async def sign_out(loot: Loot, mine: RelyingParty) -> bool:
    """The form's token of their page, with their cookies; and with a session of mine beside it, which stays."""
    browser = Browser(loot.server)
    await mine.sign_in(browser)
    own = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    for cookies in ("", loot.cookie_header, own):
        fields = {"csrf_token": loot.values["form token"], "decision": "approve"}
        reply = await loot.server.request("POST", "/acme/sign-out", fields=fields, headers={"cookie": cookies})
        if cookies == own and reply.status < 400 and "logout-form" not in Page(reply).forms:
            return False
    return "code" in mine.answer(await browser.get(mine.url(prompt="none")))


PAGES = ("sign-in", "choose-account", "consent")
ATTACKS: dict[tuple[str, str], list[Attack]] = {
    ("POST", "token"): [token_clients, token_code, token_refresh, token_confused, token_assertion],
    ("POST", "introspect"): [introspect_clients, introspect_tokens],
    ("POST", "revoke"): [revoke_clients, revoke_tokens],
    ("GET", "userinfo"): [userinfo_get],
    ("POST", "userinfo"): [userinfo_post],
    ("GET", "jwks"): [public("jwks")],
    ("GET", ".well-known/openid-configuration"): [public(".well-known/openid-configuration")],
    ("GET", ".well-known/oauth-authorization-server"): [public(".well-known/oauth-authorization-server")],
    ("GET", "authorize"): [authorize_session, authorize_hint],
    ("POST", "authorize"): [authorize_session, authorize_hint],
    ("GET", "authorize/resume"): [page("GET", "authorize/resume")],
    **{(method, name): [page(method, name)] for method in ("GET", "POST") for name in PAGES},
    ("GET", "end_session"): [end_session_get],
    ("POST", "end_session"): [end_session_post],
    ("POST", "sign-out"): [sign_out],
}  # fmt: skip
# Every parameter that any endpoint reads, for the attempts that try each thing in each place.
PARAMETERS = (
    "access_token", "account", "assertion", "chosen", "claims", "client_assertion", "client_id",
    "client_secret", "code", "code_challenge", "code_verifier", "csrf_token", "decision", "id_token_hint",
    "interaction", "login_hint", "nonce", "password", "redirect_uri", "refresh_token", "request", "resource",
    "scope", "session", "state", "sub", "subject_token", "token", "username",
)  # fmt: skip


async def test_every_endpoint_is_under_attack(loot: Loot) -> None:
    """A new endpoint fails here until somebody has written down how another tenant would attack it."""
    routes = loot.server.app.endpoints
    assert sorted(ATTACKS) == sorted((method, name) for name, route in routes.items() for method in route.methods)


@pytest.mark.parametrize("endpoint", sorted(ATTACKS), ids=" ".join)
async def test_what_belongs_to_another_tenant_is_refused(
    loot: Loot, endpoint: tuple[str, str], attacked: Callable[..., None]
) -> None:
    watched = loot.watched()
    lost = [attack.__name__ for attack in ATTACKS[endpoint] if not await attack(loot, RelyingParty(watched))]
    broken = await loot.is_whole()
    told = watched.told
    attacked(f"HTTP {' '.join(endpoint)}", attempts=watched.requests, successes=len(lost) + len(broken) + len(told))
    assert lost == []
    assert broken == []
    assert told == []


@pytest.mark.parametrize("endpoint", sorted(ATTACKS), ids=" ".join)
async def test_nothing_of_another_tenant_comes_out_wherever_it_is_put(
    loot: Loot, endpoint: tuple[str, str], attacked: Callable[..., None]
) -> None:
    """Each thing as each parameter, with and without the cookies and the bearer token."""
    method, name = endpoint
    watched = loot.watched()
    party = RelyingParty(watched)
    usual = party.request() if "authorize" in name else {}
    for thing, value in loot.values.items():
        for parameter in PARAMETERS:
            fields = {**usual, parameter: value}
            headers = {"cookie": loot.cookie_header, "authorization": f"Bearer {value}"}
            if name in {"token", "introspect", "revoke"}:
                headers |= party.credentials()[0]
            if method == "GET":
                reply = await loot.server.request("GET", f"/acme/{name}?{urlencode(fields)}", headers=headers)
            else:
                reply = await loot.server.request("POST", f"/acme/{name}", fields=fields, headers=headers)
            assert reply.status < 500, f"{thing} as {parameter}"
    broken = await loot.is_whole()
    told = watched.told
    attacked(f"HTTP {' '.join(endpoint)}", attempts=watched.requests, successes=len(broken) + len(told))
    assert broken == []
    assert told == []
