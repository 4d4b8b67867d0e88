"""Secrets stay where they belong: none is in an audit event, a log line, or the store in clear (pitfalls P37, P61)."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from tegata.crypto.digests import new_secret
from tegata.storage.errors import Unavailable
from tegata.testing.memory import MemoryStorage
from tegata.testing.relying_party import Browser, Page, RelyingParty, handle_in
from tegata.testing.server import DISABLED_PASSWORD, PASSWORD, SIGNED_OUT, Server, serving

pytestmark = pytest.mark.anyio

WRONG = "a password somebody mistyped"
# What protocol messages carry that somebody could use.
SECRET_FIELDS = re.compile(
    r'"(?:access_token|refresh_token|id_token)":"([^"]+)"'
    r'|name="(?:csrf_token|code)" value="([^"]+)"'
    r"|[?&](?:code|interaction)=([\w.-]+)"
)


class Faulty:
    """Storage that fails when it is told to."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            return await method(*args, **kwargs)

        return call


class Watched:
    """Wraps the server's `request` and collects every secret that passes by."""

    def __init__(self, server: Server) -> None:
        self.secrets: set[str] = {PASSWORD, WRONG, DISABLED_PASSWORD}
        for tenant in server.tenants.values():
            self.secrets |= set(tenant.secrets.values())
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    async def request(self, method: str, target: str, **options: Any) -> Any:
        reply = await self._server.request(method, target, **options)
        sent = dict(options.get("fields") or {})
        for name in ("code_verifier", "client_assertion", "client_secret", "csrf_token", "token"):
            self.secrets |= {sent[name]} if name in sent else set()
        authorization = (options.get("headers") or {}).get("authorization", "")
        self.secrets |= {authorization.partition(" ")[2]} if authorization else set()
        text = f"{reply.url} {reply.location} {reply.text}"
        self.secrets |= {found for match in SECRET_FIELDS.finditer(text) for found in match.groups() if found}
        for line in reply.all("set-cookie"):
            self.secrets |= {line.split(";")[0].partition("=")[2]} - {""}
        return reply


async def everything(server: Any, faulty: Faulty) -> None:
    """Run through every outcome that is audited or logged."""
    web, own, browser = RelyingParty(server), RelyingParty(server, "own"), Browser(server)
    page = await browser.get(web.url())
    await browser.sign_in(page, "taro", WRONG)
    await browser.sign_in(page, "nobody", WRONG)
    await browser.sign_in(page, "closed", DISABLED_PASSWORD)
    page = await browser.sign_in(page)
    code = web.answer(await browser.approve(page))["code"]
    tokens = (await web.redeem(code)).json
    refreshed = (await web.refresh(tokens["refresh_token"])).json
    for token in (tokens["access_token"], refreshed["refresh_token"], "made up"):
        await web.call("introspect", token=token)
    await web.userinfo(tokens["access_token"])
    await web.call("revoke", token=tokens["access_token"])
    await web.redeem(code)  # a replay
    reused = (await own.sign_in(browser))["refresh_token"]
    await own.refresh((await own.refresh(reused)).json["refresh_token"])
    await own.refresh(reused)
    await own.redeem(await new_code(own, browser), code_verifier=new_secret())
    for client_id in ("post", "jwt", "spa", "opaque", "pairwise"):
        await RelyingParty(server, client_id).sign_in(browser)
    await own.authorize(browser, response_mode="form_post")
    denied = await browser.get(web.url(prompt="consent"))
    await browser.submit(denied, "consent-form", "consent-deny")
    await RelyingParty(server, "service").call("token", grant_type="client_credentials")
    await server.request("POST", "/acme/token", fields={"client_id": "post", "client_secret": "guessed at"})
    await browser.get("/acme/end_session")
    for _ in range(7):
        await Browser(server).sign_in(await Browser(server).get(own.url()), "hanako", WRONG)
    for failure in (Unavailable("no connection"), RuntimeError("a fault of ours")):
        page = await Browser(server).get(own.url())
        faulty.failure = failure
        await Browser(server).sign_in(page)
        await own.redeem(new_secret())
        await own.refresh(reused)
        await own.call("introspect", token=refreshed["access_token"])
        faulty.failure = None
    hint = (await own.sign_in(browser))["id_token"]
    await browser.get(f"/acme/end_session?id_token_hint={hint}&post_logout_redirect_uri={SIGNED_OUT}")


async def new_code(party: RelyingParty, browser: Browser) -> str:
    return party.answer(await browser.get(party.url()))["code"]


async def test_no_secret_of_a_whole_day_is_in_audit_logs_or_store(capsys: pytest.CaptureFixture[str]) -> None:
    faults: list[Faulty] = []

    def through(storage: MemoryStorage) -> Faulty:
        faults.append(Faulty(storage))
        return faults[0]

    with capture_logs() as lines:
        async with serving(through=through) as server:
            watched = Watched(server)
            await everything(watched, faults[0])
            events = await server.audit()
    state = pickle.dumps(server.storage._state)
    printed = capsys.readouterr()
    logged = f"{lines} {printed.out} {printed.err}"
    assert "storage_unavailable" in logged
    assert "unexpected_error" in logged
    assert {event.type for event in events} >= {
        "sign_in.succeeded",
        "sign_in.failed",
        "consent.granted",
        "authorization.granted",
        "authorization.refused",
        "token.issued",
        "token.refused",
        "token.revoked",
        "code.replayed",
        "refresh_token.reused",
        "session.ended",
    }
    watched.secrets |= {part for secret in watched.secrets if secret.count(".") == 2 for part in [secret.split(".")[2]]}
    assert len(watched.secrets) > 80
    assert not [secret for secret in watched.secrets if secret in f"{events}"]
    assert not [secret for secret in watched.secrets if secret in logged]
    assert not [secret for secret in watched.secrets if secret.encode() in state]


async def test_nothing_that_holds_secrets_shows_them_in_its_repr(server: Server, own: RelyingParty) -> None:
    browser = Browser(server)
    page = await browser.get(own.url())
    handle = handle_in(page.url)
    csrf = Page(page).forms["login-form"].fields["csrf_token"]
    await browser.sign_in(page)
    loaded = await server.services.directory.find_tenant("acme")
    shown = f"{server.services} {loaded}"
    for secret in (handle, csrf, *browser.cookies.values(), *own.tenant.secrets.values()):
        assert secret not in shown
    assert "PRIVATE" not in shown
    assert "'d':" not in shown
