"""The composition root: start and stop, mounts, and what a failing store or client does to an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tegata.app import Backend, Development, Tegata
from tegata.crypto.envelope import new_master_key
from tegata.settings import Settings
from tegata.storage.errors import StorageError, Unavailable
from tegata.telemetry.audit import event
from tegata.testing.memory import MemoryStorage
from tegata.testing.relying_party import Browser, Page, RelyingParty
from tegata.testing.server import BASE_URL, Server, send, serving
from tegata.web.developer import DeveloperPages
from tegata.web.pages import LandingPage, PlaygroundPage

pytestmark = pytest.mark.anyio

PAGES = DeveloperPages(LandingPage("http://127.0.0.1:8080", ()), PlaygroundPage("", "", "", "", "", "", "", ""))


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


class Store:
    """A backend that tells whether it is open."""

    def __init__(self) -> None:
        self.is_open = False
        self.memory = MemoryStorage()
        self.failure: Exception | None = None

    async def open(self) -> Backend:
        if self.failure is not None:
            raise self.failure
        self.is_open = True
        return Backend(self.memory, self.memory, self.close)

    async def close(self) -> None:
        self.is_open = False


@pytest.fixture(autouse=True)
def log() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is logged: not printed, which for a stack takes seconds unless logs are configured."""
    with capture_logs() as lines:
        yield lines


def settings(**values: Any) -> Settings:
    """Return settings that can serve."""
    return Settings(**{"base_url": BASE_URL, "master_key": SecretStr(new_master_key()), **values})


async def run_lifespan(app: Tegata, *messages: str) -> list[dict[str, Any]]:
    """Speak the lifespan protocol; return what the application said, whether or not it ended with an exception."""
    said: list[dict[str, Any]] = []
    waiting = [{"type": f"lifespan.{message}"} for message in messages]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def collect(message: dict[str, Any]) -> None:
        said.append(message)

    with suppress(StorageError, ValueError):
        await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, collect)
    return said


# Start and stop -----------------------------------------------------------------------------------------------------


async def test_the_store_is_open_exactly_while_the_server_runs() -> None:
    store = Store()
    app = Tegata(settings(), store.open)
    assert not store.is_open
    for _ in range(2):  # a server may be started again
        await app.start()
        assert store.is_open
        assert (await send(app, "GET", BASE_URL + "/livez", headers={})).status == 200
        await app.stop()
        assert not store.is_open


async def test_the_lifespan_starts_and_stops() -> None:
    store = Store()
    said = await run_lifespan(Tegata(settings(), store.open), "startup", "shutdown")
    assert [message["type"] for message in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not store.is_open


async def test_a_start_that_fails_is_said_and_leaves_nothing_open() -> None:
    """A server that hears nothing goes on without the application's start, and answers 503 for ever."""
    store = Store()
    store.failure = Unavailable("no connection")
    said = await run_lifespan(Tegata(settings(), store.open), "startup")
    assert [message["type"] for message in said] == ["lifespan.startup.failed"]
    bad_key = Tegata(settings(master_key=SecretStr("too short")), Store().open)
    assert [message["type"] for message in await run_lifespan(bad_key, "startup")] == ["lifespan.startup.failed"]


async def test_a_start_that_fails_halfway_closes_the_store_and_shows_no_secret() -> None:
    store = Store()
    app = Tegata(settings(master_key=SecretStr("a-secret-that-is-no-key")), store.open)
    with pytest.raises(ValueError, match="master key") as caught:
        await app.start()
    assert "a-secret" not in str(caught.value)
    assert not store.is_open


async def test_before_the_start_and_after_the_stop_the_answer_is_503() -> None:
    app = Tegata(settings(), Store().open)
    for _ in range(2):
        reply = await send(app, "GET", BASE_URL + "/acme/jwks", headers={})
        assert (reply.status, reply.header("retry-after")) == (503, "2")
        await app.start()
        await app.stop()


async def test_what_is_not_http_is_not_served() -> None:
    async with serving() as server:
        with pytest.raises(RuntimeError, match="websocket"):
            await server.app({"type": "websocket", "path": "/"}, _never, _never)


async def test_stopping_writes_the_audit_events_that_wait() -> None:
    async with serving() as server:
        await RelyingParty(server).refresh("made up")
        tenant_id = server.tenants["acme"].tenant_id
        # From here to the end nothing else gets a turn that could write it.
        server.services.audit.add(tenant_id, event("the.last", now=server.clock(), origin=None))
        assert "the.last" not in [one.type for one in await server.storage.read_events(tenant_id, limit=10)]
    events = await server.storage.read_events(tenant_id, limit=10)
    assert {one.type for one in events} == {"token.refused", "the.last"}


@pytest.mark.parametrize("missing", ["base_url", "master_key"])
async def test_without_an_address_or_a_key_there_is_no_application(missing: str) -> None:
    with pytest.raises(ValueError, match="needed"):
        Tegata(settings(**{missing: None}), Store().open)


async def test_draining_is_said_to_load_balancers() -> None:
    async with serving() as server:
        assert (await server.request("GET", "/readyz")).status == 200
        await server.app.drain()
        assert (await server.request("GET", "/readyz")).status == 503
        assert (await server.request("GET", "/livez")).status == 200
        assert (await server.request("GET", "/acme/jwks")).status == 200  # who comes all the same is served


async def test_a_drain_takes_the_time_that_is_set() -> None:
    paused: list[float] = []

    async def pause(seconds: float) -> None:
        paused.append(seconds)

    await Tegata(settings(drain_seconds=7.5), Store().open, pause=pause).drain()
    assert paused == [7.5]


async def _never() -> Any:
    raise AssertionError("nothing is to be received")


# Mounts -------------------------------------------------------------------------------------------------------------


async def mounted(scope: Any, receive: Any, send_: Any) -> None:
    """Answer with what an application sees of its place."""
    body = f"{scope['root_path']}|{scope['path']}".encode()
    await send_({"type": "http.response.start", "status": 200, "headers": []})
    await send_({"type": "http.response.body", "body": body})


async def test_a_mounted_application_answers_below_its_prefix_only() -> None:
    development = Development(PAGES, {"/example-api": mounted})
    async with serving(base_url="http://127.0.0.1:8080", development=development) as server:
        assert (await server.request("GET", "/example-api/recipes")).text == "/example-api|/example-api/recipes"
        assert (await server.request("GET", "/example-api")).text == "/example-api|/example-api"
        assert (await server.request("GET", "/example-apis")).status == 404
        assert (await server.request("GET", "/acme/jwks")).status == 200


async def test_production_mounts_nothing_and_has_no_developers_pages() -> None:
    with pytest.raises(ValueError, match="development only"):
        Tegata(settings(environment="production"), Store().open, development=Development(PAGES))


# A store that fails -------------------------------------------------------------------------------------------------

FAILURES = [
    pytest.param(Unavailable("the pool is empty"), 503, "temporarily_unavailable", id="unavailable"),
    pytest.param(RuntimeError("password=hunter2"), 500, "server_error", id="a fault of ours"),
]


def catching() -> tuple[list[Faulty], Callable[[MemoryStorage], Faulty]]:
    """Return the list that will hold the storage, and the function that puts it there."""
    made: list[Faulty] = []

    def through(storage: MemoryStorage) -> Faulty:
        made.append(Faulty(storage))
        return made[0]

    return made, through


@pytest.mark.parametrize(("failure", "status", "error"), FAILURES)
async def test_applications_get_json_when_the_store_fails(
    log: list[MutableMapping[str, Any]], failure: Exception, status: int, error: str
) -> None:
    made, through = catching()
    async with serving(through=through) as server:
        own = RelyingParty(server, "own")
        tokens = await own.sign_in()
        made[0].failure = failure
        replies = [
            await own.redeem("x"),
            await own.refresh(tokens["refresh_token"]),
            await own.call("introspect", token=tokens["access_token"]),
            await own.call("revoke", token=tokens["access_token"]),
            await own.userinfo(tokens["access_token"]),
            await server.request("GET", "/unknown/jwks"),
        ]
        made[0].failure = None
        for reply in replies:
            assert (reply.status, reply.json["error"]) == (status, error)
            assert reply.header("content-type") == "application/json"
            assert reply.header("retry-after") == ("2" if status == 503 else None)
            assert reply.header("cache-control") == "no-store"
            assert "hunter2" not in reply.text
        assert (await own.refresh(tokens["refresh_token"])).status == 200
    # Meanwhile events of the audit may have been due, twice a second.
    told = [line for line in log if line["event"] != "audit_not_written"]
    assert {line["event"] for line in told} == {"storage_unavailable" if status == 503 else "unexpected_error"}
    assert all(line["request_id"] for line in told)


@pytest.mark.parametrize(("failure", "status", "error"), FAILURES)
async def test_people_get_a_page_when_the_store_fails(
    log: list[MutableMapping[str, Any]], failure: Exception, status: int, error: str
) -> None:
    made, through = catching()
    async with serving(through=through) as server:
        web, browser = RelyingParty(server), Browser(server)
        sign_in = await browser.get(web.url())
        consent = await browser.sign_in(sign_in)
        question = await browser.get("/acme/end_session")
        made[0].failure = failure
        replies = [
            await browser.get(web.url()),
            await browser.get(sign_in.url),
            await browser.sign_in(sign_in),
            await browser.approve(consent),
            await browser.submit(consent, "consent-form", "consent-deny"),
            await browser.get("/acme/end_session"),
            await browser.submit(question, "logout-form", "logout-approve"),
            await browser.post("/acme/authorize", web.request(), cross_site=True),
        ]
        made[0].failure = None
        for reply in replies:
            assert reply.status == status
            assert reply.location is None
            assert Page(reply).texts["error-code"] == error
            assert reply.header("retry-after") == ("2" if status == 503 else None)
            assert "hunter2" not in reply.text
            assert reply.all("set-cookie") == []
        assert "code" in web.answer(await browser.approve(consent))


async def test_audit_events_survive_a_store_that_fails_for_a_while() -> None:
    made, through = catching()
    async with serving(through=through) as server:
        own = RelyingParty(server, "own")
        await own.refresh("made up")
        made[0].failure = Unavailable("gone")
        await server.services.audit.flush()
        made[0].failure = None
        assert [event.type for event in await server.audit()] == ["token.refused"]


# Clients that go away, and tenants that are not there ---------------------------------------------------------------


async def interrupted(server: Server, target: str, *chunks: bytes) -> list[dict[str, Any]]:
    """Send the beginning of a form and go away; return what the server sends into the void."""
    said: list[dict[str, Any]] = []
    waiting: list[dict[str, Any]] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting.append({"type": "http.disconnect"})

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def collect(message: dict[str, Any]) -> None:
        said.append(message)

    headers, _ = RelyingParty(server, "own").credentials()
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "https",
        "path": target.partition("?")[0],
        "raw_path": target.encode(),
        "query_string": target.partition("?")[2].encode(),
        "headers": [
            (b"content-type", b"application/x-www-form-urlencoded"),
            (b"authorization", headers["authorization"].encode()),
        ],
        "client": None,
    }
    await server.app(scope, receive, collect)
    return said


@pytest.mark.parametrize("chunks", [(), (b"grant_type=refresh",), (b"grant_type=refresh_token&refresh_token=", b"x")])
async def test_a_client_that_goes_away_in_its_body_changes_nothing(chunks: tuple[bytes, ...]) -> None:
    async with serving() as server:
        own = RelyingParty(server, "own")
        token = (await own.sign_in())["refresh_token"]
        before = len(await server.audit(type_prefix="token.issued"))
        begun = tuple(chunk.replace(b"=x", b"=" + token.encode()) for chunk in chunks)
        for target in ("/acme/token", "/acme/revoke", "/acme/introspect"):
            said = await interrupted(server, target, *begun)
            assert said[0]["status"] in {400, 401}
        assert len(await server.audit(type_prefix="token.issued")) == before
        assert (await own.refresh(token)).status == 200


async def test_a_browser_that_goes_away_in_its_form_decides_nothing() -> None:
    async with serving() as server:
        web, browser = RelyingParty(server), Browser(server)
        page = await browser.sign_in(await browser.get(web.url()))
        form = Page(page).forms["consent-form"]
        target = form.action.removeprefix(server.base_url)
        await interrupted(server, target, f"csrf_token={form.fields['csrf_token']}&decision=approve".encode())
        assert not await server.audit(type_prefix="consent")
        assert "code" in web.answer(await browser.approve(page))


async def test_an_unknown_tenant_is_json_for_applications_and_a_page_for_people() -> None:
    async with serving() as server:
        for path in ("jwks", "userinfo", ".well-known/openid-configuration"):
            reply = await server.request("GET", f"/nobody/{path}")
            assert (reply.status, reply.json["error"]) == (404, "not_found")
        reply = await server.request("POST", "/nobody/token", fields={"grant_type": "client_credentials"})
        assert (reply.status, reply.json["error"]) == (404, "not_found")
        for path in ("authorize", "sign-in", "consent", "end_session"):
            reply = await server.request("GET", f"/nobody/{path}")
            assert reply.status == 404
            assert Page(reply).texts["error-code"] == "not_found"


@pytest.mark.parametrize("name", ["ACME", "acme%20", "%61cme%00", "a" * 64, "..", "%2e%2e", "acme%2Fother"])
async def test_only_the_exact_name_is_the_tenant(name: str) -> None:
    async with serving() as server:
        assert (await server.request("GET", f"{server.base_url}/{name}/jwks")).status == 404


async def test_both_addresses_of_the_metadata_are_one_document() -> None:
    async with serving() as server:
        bodies = set()
        for document in ("openid-configuration", "oauth-authorization-server"):
            for path in (f"/acme/.well-known/{document}", f"/.well-known/{document}/acme"):
                reply = await server.request("GET", path)
                assert reply.json["issuer"] == server.tenants["acme"].issuer
                bodies.add(reply.body)
        assert len(bodies) == 1
