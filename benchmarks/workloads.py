"""The workloads: what one operation of each is, and the target of `facts` it is held against."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from benchmarks.load import Connection, Operation, build_request

CALLBACK = "http://127.0.0.1:9000/callback"
VERIFIER = "a" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Bench:
    """A running server and the secrets that the workloads need."""

    port: int
    secret: str
    password: str

    def post(self, endpoint: str, client: str, **fields: str) -> bytes:
        """Return a request with client_secret_basic."""
        basic = base64.b64encode(f"{client}:{self.secret}".encode()).decode()
        headers = {"Authorization": f"Basic {basic}"}
        return build_request("POST", f"/bench/{endpoint}", self.port, headers=headers, body=urlencode(fields))

    def authorize(self, client: str, cookie: str) -> bytes:
        """Return an authorization request of a browser with this cookie."""
        fields = {
            "client_id": client,
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid profile read",
            "state": "s" * 22,
            "nonce": "n" * 22,
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        headers = {"Cookie": cookie} if cookie else {}
        return build_request("GET", f"/bench/authorize?{urlencode(fields)}", self.port, headers=headers)

    async def sign_in(self, connection: Connection, client: str) -> str:
        """Sign in through the page, as a browser does, and return the cookies."""
        to_page = await connection.send(self.authorize(client, ""))
        location = to_page.header("location") or ""
        page = await connection.send(build_request("GET", location, self.port))
        token = html.unescape(re.search(rb'name="csrf_token" value="([^"]+)"', page.body)[1].decode())  # type: ignore[index]
        form_cookie = _cookies(page.head)
        fields = {"csrf_token": token, "username": "runner", "password": self.password}
        headers = {"Cookie": form_cookie}
        done = await connection.send(
            build_request("POST", location, self.port, headers=headers, body=urlencode(fields))
        )
        if done.status != 303:
            raise RuntimeError(f"sign-in failed with {done.status}")
        return f"{form_cookie}; {_cookies(done.head)}"

    async def code(self, connection: Connection, client: str, cookie: str) -> str | None:
        """Run an authorization request with a living session and return the code."""
        reply = await connection.send(self.authorize(client, cookie))
        found = parse_qs(urlsplit(reply.header("location") or "").query).get("code")
        return found[0] if found else None

    async def tokens(self, connection: Connection, client: str, cookie: str) -> dict[str, str]:
        """Run the whole flow and return the token response; empty on failure."""
        code = await self.code(connection, client, cookie)
        if code is None:
            return {}
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
        }
        reply = await connection.send(self.post("token", client, **fields))
        return dict(json.loads(reply.body)) if reply.status == 200 else {}


def _cookies(head: bytes) -> str:
    found = re.findall(rb"(?i)^set-cookie: ([^;\r\n]+)", head, re.M)
    return "; ".join(part.decode() for part in found)


Prepare = Callable[[Bench, Connection], Awaitable[Callable[[int], Awaitable[Operation]]]]


@dataclass(frozen=True, slots=True)
class Workload:
    """A name, the target in operations per server CPU second, and how its operations are prepared."""

    name: str
    target: int
    prepare: Prepare


def _repeat(request_of: Callable[[Bench, Connection], Awaitable[bytes]]) -> Prepare:
    """The same request, over and over."""

    async def prepare(bench: Bench, connection: Connection) -> Callable[[int], Awaitable[Operation]]:
        request = await request_of(bench, connection)

        async def operation(own: Connection) -> bool:
            reply = await own.send(request)
            return reply.status == 200 and b'"active":false' not in reply.body

        async def make(_index: int) -> Operation:
            return operation

        return make

    return prepare


def client_credentials(client: str) -> Prepare:
    async def request(bench: Bench, _connection: Connection) -> bytes:
        return bench.post("token", client, grant_type="client_credentials", scope="read")

    return _repeat(request)


def introspect(client: str) -> Prepare:
    async def request(bench: Bench, connection: Connection) -> bytes:
        reply = await connection.send(bench.post("token", client, grant_type="client_credentials", scope="read"))
        return bench.post("introspect", client, token=json.loads(reply.body)["access_token"])

    return _repeat(request)


def userinfo(client: str) -> Prepare:
    async def request(bench: Bench, connection: Connection) -> bytes:
        tokens = await bench.tokens(connection, client, await bench.sign_in(connection, client))
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        return build_request("GET", "/bench/userinfo", bench.port, headers=headers)

    return _repeat(request)


def document(path: str) -> Prepare:
    async def request(bench: Bench, _connection: Connection) -> bytes:
        return build_request("GET", path, bench.port)

    return _repeat(request)


def refresh(client: str) -> Prepare:
    async def prepare(bench: Bench, connection: Connection) -> Callable[[int], Awaitable[Operation]]:
        cookie = await bench.sign_in(connection, client)

        async def make(_index: int) -> Operation:
            current = (await bench.tokens(connection, client, cookie))["refresh_token"]

            async def operation(own: Connection) -> bool:
                nonlocal current
                reply = await own.send(bench.post("token", client, grant_type="refresh_token", refresh_token=current))
                if reply.status != 200:
                    return False
                current = json.loads(reply.body)["refresh_token"]
                return True

            return operation

        return make

    return prepare


def code_flow(client: str) -> Prepare:
    async def prepare(bench: Bench, connection: Connection) -> Callable[[int], Awaitable[Operation]]:
        cookie = await bench.sign_in(connection, client)

        async def operation(own: Connection) -> bool:
            return "id_token" in await bench.tokens(own, client, cookie)

        async def make(_index: int) -> Operation:
            return operation

        return make

    return prepare


def password_sign_in(client: str) -> Prepare:
    async def prepare(_bench: Bench, _connection: Connection) -> Callable[[int], Awaitable[Operation]]:
        bench = _bench

        async def operation(own: Connection) -> bool:
            return bool(await bench.sign_in(own, client))

        async def make(_index: int) -> Operation:
            return operation

        return make

    return prepare


WORKLOADS = (
    Workload("client_credentials RS256", 2500, client_credentials("rs256")),
    Workload("client_credentials ES256", 7000, client_credentials("es256")),
    Workload("client_credentials opaque", 9000, client_credentials("opaque")),
    Workload("introspect opaque", 9000, introspect("opaque")),
    Workload("introspect JWT ES256", 5000, introspect("es256")),
    Workload("refresh RS256", 1000, refresh("rs256")),
    Workload("refresh ES256", 4000, refresh("es256")),
    Workload("code flow, live session, RS256", 800, code_flow("rs256")),
    Workload("code flow, live session, ES256", 2000, code_flow("es256")),
    Workload("userinfo (JWT ES256)", 6000, userinfo("es256")),
    Workload("JWKS", 25000, document("/bench/jwks")),
    Workload("discovery", 25000, document("/bench/.well-known/openid-configuration")),
    Workload("password sign-in", 45, password_sign_in("es256")),
)
