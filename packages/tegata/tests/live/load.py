"""Those who want tokens: services, people's applications, APIs that ask about tokens; none of them tries again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, cast
from urllib.parse import urlencode, urljoin

import httpx2

from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import Reply, Server

from .installation import CALLBACK, CLIENTS, USERNAME, Installation
from .verifiers import Jury, is_valid

_CALLS_PER_CONNECTION = 15
_PAUSE_SECONDS = 0.4
_PATIENCE_SECONDS = 60
_TIMEOUT_SECONDS = 90


class Failed(Exception):
    """A request was not answered as it should be."""


@dataclass(slots=True)
class Http:
    """The server over HTTP; a new connection now and then, so that every worker is asked."""

    base_url: str
    answered: Counter[str] = field(default_factory=Counter)
    _client: httpx2.AsyncClient | None = None
    _calls: int = 0

    async def request(
        self,
        method: str,
        target: str,
        *,
        fields: Any = None,
        headers: Mapping[str, str] | None = None,
        address: str = "",
    ) -> Reply:
        """Send one request, as `tegata.testing.server.Server` does it in one process."""
        if self._client is None or self._calls >= _CALLS_PER_CONNECTION:
            await self.close()
            self._client, self._calls = plain_client(), 0
        self._calls += 1
        url = urljoin(self.base_url + "/", target)
        every = dict(headers or {})
        if fields is not None:
            every["content-type"] = "application/x-www-form-urlencoded"
        content = None if fields is None else urlencode(fields).encode()
        answer = await self._client.request(method, url, content=content, headers=every)
        self.answered[f"{method} {answer.url.path.rpartition('/')[2]}"] += 1
        return Reply(url, answer.status_code, tuple(answer.headers.multi_items()), answer.content)

    async def close(self) -> None:
        """Give the connection back."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def plain_client() -> httpx2.AsyncClient:
    """Return a client that goes straight to loopback."""
    return httpx2.AsyncClient(trust_env=False, verify=False, timeout=_TIMEOUT_SECONDS)


@dataclass(slots=True)
class Progress:
    """How often one client has begun to act, and how often it has ended that, well or not."""

    begun: int = 0
    ended: int = 0


class Load:
    """Everybody at once, for as long as the block runs; `failures` says what went wrong, without any token."""

    def __init__(self, installation: Installation, jury: Jury) -> None:
        self.installation = installation
        self.jury = jury
        self.failures: list[str] = []
        self.answered: Counter[str] = Counter()
        self._stopped = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._clients: list[Http] = []
        self._progress: list[Progress] = []

    @property
    def requests(self) -> int:
        """How many were answered."""
        return sum(self.answered.values())

    async def __aenter__(self) -> Load:
        people = [await self._signed_in(name) for name in CLIENTS if name.startswith("web")]
        acts: list[Callable[[], Awaitable[None]]] = [
            *(self._service(name) for name in CLIENTS if name.startswith("service")),
            *people,
            self._reader(),
        ]
        self._progress = [Progress() for _ in acts]
        self._tasks = [
            asyncio.create_task(self._again_and_again(act, progress))
            for act, progress in zip(acts, self._progress, strict=True)
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        await asyncio.gather(*self._tasks)
        for client in self._clients:
            await client.close()

    def wait_until_each_goes_on(self) -> None:
        """Return when each client has begun to act since the call and has ended that. For other threads."""
        goals = [progress.begun + 1 for progress in self._progress]
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while any(progress.ended < goal for progress, goal in zip(self._progress, goals, strict=True)):
            assert time.monotonic() < deadline, (goals, self._progress, self.failures)
            time.sleep(0.01)

    async def _again_and_again(self, act: Callable[[], Awaitable[None]], progress: Progress) -> None:
        while not self._stopped.is_set():
            progress.begun += 1
            try:
                await act()
            except (Failed, httpx2.HTTPError) as error:
                self.failures.append(repr(error))
            progress.ended += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _PAUSE_SECONDS)

    def _http(self) -> Http:
        made = Http(self.installation.address, self.answered)
        self._clients.append(made)
        return made

    def _party(self, name: str) -> RelyingParty:
        return _Party(cast("Server", self._http()), name, "live", CALLBACK, secrets=self.installation.secrets)

    def _service(self, name: str) -> Callable[[], Awaitable[None]]:
        party = self._party(name)

        async def act() -> None:
            answer = _good(await party.call("token", grant_type="client_credentials", scope="read"))
            await self.jury.take(answer["access_token"])
            told = _good(await party.call("introspect", token=answer["access_token"]))
            if told["active"] is not True and is_valid(answer["access_token"]):
                raise Failed("a token that is valid is not active")

        return act

    async def _signed_in(self, name: str) -> Callable[[], Awaitable[None]]:
        party = self._party(name)
        browser = Browser(party.server)
        shown = await browser.get(party.url(scope="openid profile"))
        if "/sign-in?" in shown.url:
            shown = await browser.sign_in(shown, USERNAME, self.installation.secrets["user"])
        tokens = _good(await party.redeem(party.answer(shown)["code"]))

        async def act() -> None:
            nonlocal tokens
            tokens = _good(await party.refresh(tokens["refresh_token"]))
            await self.jury.take(tokens["access_token"])
            await self.jury.take_id_token(tokens["id_token"], name)
            person = await party.userinfo(tokens["access_token"])
            if person.status != 401 or is_valid(tokens["access_token"]):
                _good(person)

        return act

    def _reader(self) -> Callable[[], Awaitable[None]]:
        http = self._http()

        async def act() -> None:
            for path in ("jwks", ".well-known/openid-configuration"):
                _good(await http.request("GET", f"/live/{path}"))

        return act


@dataclass(slots=True)
class _Party(RelyingParty):
    """A client whose secret the installation knows."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def credentials(self) -> tuple[dict[str, str], dict[str, str]]:
        return {}, {"client_id": self.client_id, "client_secret": self.secrets[self.client_id]}


def _good(reply: Reply) -> dict[str, Any]:
    if reply.status != 200:
        raise Failed(f"{reply.url.rpartition('/')[2]}: {reply.status} {reply.json if reply.status < 500 else ''}")
    return reply.json
