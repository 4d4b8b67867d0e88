"""Stands in for the front load balancer: an Application Load Balancer that logs users in, at a thread of its own.

What AWS documents is done ("Authenticate users using an Application Load Balancer", "HTTP headers and Application Load
Balancers", "Quotas for your Application Load Balancers"): a session cookie; three headers of the user, whose data is
signed with ES256 in padded base64url; X-Forwarded-For appended to, X-Forwarded-Proto and -Port set, X-Amzn-Trace-Id;
16 K for a header and 64 K for all. A client's own `x-amzn-oidc-*` are taken away; `strips = False` has a test see what
would happen if they were not. Names with underscores go through, as with `drop_invalid_header_fields` left off.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from contextlib import suppress
from typing import Any

import h11

from chain.exchange import MOST_HEADER_BYTES, Side, relay
from chain.pool import LoggedIn
from chain.sessions import LOGIN, LOGOUT, BuildPage, LogIn, Sessions, build_login_address
from tegata_verify.testing import TestAlb

_MOST_LINE_BYTES = 16 * 1024
_OURS = (b"connection", b"keep-alive", b"expect", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-port")
_SAFE = (b"GET", b"HEAD", b"OPTIONS")


class FrontLoadBalancer:
    """Answers at `url` for `target`, to which its connections come from `source`.

    `unauthenticated` is what becomes of a request without a session: "deny" (401), "allow" or "log in".
    `sent` holds what it has said of users, `connections` counts those to the target.
    """

    def __init__(
        self,
        target: tuple[str, int],
        alb: TestAlb,
        log_in: LogIn,
        *,
        port: int = 0,
        source: str = "127.0.0.1",
        unauthenticated: str = "deny",
        login_page: BuildPage | None = None,
    ) -> None:
        self.target, self.alb, self.source, self.unauthenticated = target, alb, source, unauthenticated
        self.strips = True
        self.sent: list[str] = []
        self.connections = 0
        self.sessions = Sessions(log_in, login_page)
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Where browsers go."""
        return f"http://127.0.0.1:{self.port}"

    def begin_session(self, user: LoggedIn, kilobytes: int = 0) -> str:
        """Return the Cookie header of a browser in which `user` has logged in."""
        return self.sessions.begin(user, kilobytes)

    def __enter__(self) -> FrontLoadBalancer:
        self._thread.start()
        starting = asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=1 << 20)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result(30)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        client = Side(h11.SERVER, reader, writer)
        try:
            await self._serve(client)
        except asyncio.CancelledError:
            pass  # the load balancer stops; the stream's own callback would log it otherwise
        finally:
            self._open.discard(task)
            await client.close()

    async def _serve(self, client: Side) -> None:
        target: Side | None = None
        try:
            while True:
                request = await client.receive()
                if not isinstance(request, h11.Request):
                    return
                body = b""
                while isinstance(part := await client.receive(), h11.Data):
                    body += part.data
                target = await self._answer(client, request, body, target)
                if not client.is_reusable():
                    return
        except h11.RemoteProtocolError:
            if client.state.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                with suppress(OSError):
                    await reply(client, 400)
        except OSError:
            pass  # the client has gone
        finally:
            if target is not None:
                await target.close()

    async def _answer(self, client: Side, request: Any, body: bytes, target: Side | None) -> Side | None:
        """Answer one request; return the connection to the target if there is one to keep."""
        path = request.target.decode("latin-1")
        cookies = "; ".join(value.decode("latin-1") for name, value in request.headers if name == b"cookie")
        user = self.sessions.find(cookies)
        if is_too_large(request):
            await reply(client, 400)
        elif self.unauthenticated == "log in" and path.partition("?")[0] in (LOGIN, LOGOUT):
            form = body if request.method == b"POST" else None
            answer = await asyncio.to_thread(self.sessions.answer, path, cookies, form)
            await reply(client, *answer)
        elif user is None and self.unauthenticated == "log in":
            await reply(client, 302, [("location", build_login_address(path))])
        elif user is None and self.unauthenticated == "deny":
            await reply(client, 401)
        else:
            return await self._forward(client, self._build_request(client, request, user), body, target)
        return target

    async def _forward(self, client: Side, request: Any, body: bytes, target: Side | None) -> Side | None:
        """Have the target answer. 502 if it cannot be reached or breaks off before it answers."""
        events = [request, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
        response = None
        while response is None:
            reused = target is not None
            try:
                target = target or await self._connect()
                await target.send(*events)
                response = await target.receive_answer()
            except (OSError, h11.RemoteProtocolError):
                if target is not None:
                    await target.close()
                target = None
                # One that was closed while nobody used it: once more, on a connection of its own.
                if not reused or request.method not in _SAFE:
                    await reply(client, 502)
                    return None
        assert target is not None
        try:
            await relay(target, client, response)
        except BaseException:
            await target.close()
            raise
        if target.is_reusable():
            return target
        await target.close()
        return None

    async def _connect(self) -> Side:
        reader, writer = await asyncio.open_connection(*self.target, local_addr=(self.source, 0), limit=1 << 20)
        self.connections += 1
        return Side(h11.CLIENT, reader, writer)

    def _build_request(self, client: Side, request: Any, user: LoggedIn | None) -> Any:
        """Return the request as the target gets it."""
        dropped = b"x-amzn-oidc-" if self.strips else b"\n"
        headers = [item for item in request.headers if item[0] not in _OURS and not item[0].startswith(dropped)]
        given = dict(request.headers)
        if b"upgrade" in given:
            headers.append((b"connection", b"upgrade"))
        peer = client.writer.get_extra_info("peername")[0].encode()
        passed = [value for name, value in request.headers if name == b"x-forwarded-for"]
        headers += [
            (b"x-forwarded-for", b", ".join([*passed, peer])),
            (b"x-forwarded-proto", b"https"),
            (b"x-forwarded-port", b"443"),
            (b"x-amzn-trace-id", f"Root=1-{secrets.token_hex(4)}-{secrets.token_hex(12)}".encode()),
        ]
        if user is not None:
            headers += [(name.encode(), value.encode()) for name, value in self.build_headers(user)]
        return h11.Request(method=request.method, target=request.target, headers=headers)

    def build_headers(self, user: LoggedIn) -> list[tuple[str, str]]:
        """Return what is said of a user."""
        data = self.alb.mint_data(subject=user.subject, claims=user.claims)
        self.sent += [user.access, data]
        return [
            ("x-amzn-oidc-accesstoken", user.access),
            ("x-amzn-oidc-identity", user.subject),
            ("x-amzn-oidc-data", data),
        ]


def is_too_large(request: Any) -> bool:
    """Tell whether a request is beyond a load balancer's quotas."""
    lines = [len(request.target) + 20, *(len(name) + len(value) + 4 for name, value in request.headers)]
    return max(lines) > _MOST_LINE_BYTES or sum(lines) > MOST_HEADER_BYTES


async def reply(client: Side, status: int, headers: list[tuple[str, str]] | None = None, body: bytes = b"") -> None:
    """Answer in the load balancer's own name."""
    sent = [("server", "awselb/2.0"), ("content-length", str(len(body))), *(headers or [])]
    await client.send(h11.Response(status_code=status, headers=sent))
    await client.send(*([h11.Data(data=body)] if body else []), h11.EndOfMessage())
