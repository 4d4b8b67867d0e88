"""Everything a passwordless login needs, on loopback: identity endpoints, tokens, and the judge that PostgreSQL asks.

A `Laboratory` runs in a thread of its own, so that a client that blocks its event loop cannot stop it.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import threading
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

from .authority import Authority
from .directory import Directory
from .identity import APP_SERVICE_PATH, Behaviour, IdentityCall, IdentityService
from .issuer import LabClock, TokenIssuer
from .leaks import find_leaks
from .rds import AccessKey, Endpoint, RdsVerifier
from .web import Answer, LoopbackServer, Request

SYSTEM_ASSIGNED = "11111111-1111-4111-8111-111111111111"
REGION = "ap-northeast-1"
_TENANT = "22222222-2222-4222-8222-222222222222"
_WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Bind:
    """One question of PostgreSQL: may this role log in to this server? `reason` is None if it may."""

    role: str
    server: str
    reason: str | None
    token: int | None  # which of the issued tokens was presented
    credential: str  # the same for the same password, of whatever kind

    @property
    def is_accepted(self) -> bool:
        """Whether the login went through."""
        return self.reason is None


class Laboratory:
    """A cloud for tests, opened as a context manager.

    Knobs: `identity.behaviour`, `issuer.lifetime_seconds`, `issuer.revoke_all()`, `rds.lifetime_seconds`,
    `rds.end_all()`, `clock.offset_seconds`, `clock.stop()`, `go_down()` and `come_back()`. What happened: `calls` and
    `binds`. `reset()` makes the cloud honest again and forgets what happened, but not what was ever issued: `leaks_in`
    knows all of it.
    """

    def __init__(self) -> None:
        self.clock = LabClock()
        self.issuer = TokenIssuer(self.clock)
        self.rds = RdsVerifier(self.clock)
        self.aws_key = AccessKey("AKIALABORATORY000000", secrets.token_urlsafe(30))
        self.identity_header = secrets.token_urlsafe(24)
        self.assertion = secrets.token_urlsafe(48)
        self.identity = IdentityService(
            self.issuer, header=self.identity_header, assertion=self.assertion, clock=self.clock
        )
        self.binds: list[Bind] = []
        self._presented: dict[str, None] = {}
        self._azure_roles: dict[str, str] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._directory = Directory(self._judge)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="laboratory", daemon=True)
        self.reset()

    def __enter__(self) -> Laboratory:
        self.files = Path(tempfile.mkdtemp(prefix="laboratory-"))
        try:
            self.authority = Authority(self.files)
            certificate = self.authority.issue("identity", "localhost", "127.0.0.1")
            self._plain = LoopbackServer(self._handle)
            self._secure = LoopbackServer(self._handle, tls=certificate.context())
            self._assertion_file = self.files / "assertion"
            self._assertion_file.write_text(self.assertion)
            self._thread.start()
            self._run(self._open())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything and remove the files."""
        if self._thread.is_alive():
            self._run(self._close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_WAIT_SECONDS)
        self._loop.close()
        shutil.rmtree(self.files, ignore_errors=True)

    @property
    def is_running(self) -> bool:
        """Whether it is open."""
        return self._thread.is_alive()

    # What a test sets

    def reset(self) -> None:
        """Be honest and punctual again, with nothing counted yet. Mapped roles stay, revoked tokens stay revoked."""
        self.identity.behaviour = Behaviour()
        self.identity.identities = {None: SYSTEM_ASSIGNED}
        self.identity.calls = []
        self.issuer.lifetime_seconds = 3600
        self.rds.lifetime_seconds = 900
        self.rds.trust(self.aws_key)
        self.clock.offset_seconds = 0.0
        self.clock.go_on()
        self.binds = []

    def map_role(self, role: str, subject: str = SYSTEM_ASSIGNED) -> None:
        """Let a database role be used by the identity with this object id. Roles not mapped belong to RDS."""
        self._azure_roles[role] = subject

    def serve_database(self, server: str, endpoint: Endpoint) -> None:
        """Make known at which address clients reach a database server; tokens for RDS are signed for it."""
        self._endpoints[server] = endpoint

    def go_down(self) -> None:
        """Refuse every connection to the identity endpoints."""
        self._run(self._close_identity())

    def come_back(self) -> None:
        """Listen again, at the same ports."""
        self._run(self._open_identity())

    # Where it is

    @property
    def directory_port(self) -> int:
        """The port of the directory on 127.0.0.1."""
        return self._directory.port

    @property
    def address(self) -> str:
        """The address of the identity endpoints."""
        return f"http://127.0.0.1:{self._plain.port}"

    def app_service(self) -> dict[str, str]:
        """Return the environment of a container in App Service."""
        return {"IDENTITY_ENDPOINT": self.address + APP_SERVICE_PATH, "IDENTITY_HEADER": self.identity_header}

    def virtual_machine(self) -> dict[str, str]:
        """Return the environment that sends questions to the instance metadata service here."""
        return {"AZURE_POD_IDENTITY_AUTHORITY_HOST": self.address}

    def workload(self, client_id: str) -> dict[str, str]:
        """Return the environment of a pod with workload identity.

        azure-identity insists on https for this authority: clients must be told to trust `authority.root`.
        """
        return {
            "AZURE_AUTHORITY_HOST": f"https://localhost:{self._secure.port}",
            "AZURE_TENANT_ID": _TENANT,
            "AZURE_CLIENT_ID": client_id,
            "AZURE_FEDERATED_TOKEN_FILE": str(self._assertion_file),
        }

    def aws(self) -> dict[str, str]:
        """Return the environment of a container with credentials for AWS."""
        return {
            "AWS_ACCESS_KEY_ID": self.aws_key.key_id,
            "AWS_SECRET_ACCESS_KEY": self.aws_key.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    # What happened

    @property
    def calls(self) -> list[IdentityCall]:
        """The calls of the identity endpoints since `reset()`, without mere probes for their presence."""
        return [call for call in self.identity.calls if not call.is_probe]

    def logins(self, role: str | None = None) -> list[Bind]:
        """Return the accepted logins."""
        return [bind for bind in self.binds if bind.is_accepted and role in (None, bind.role)]

    def refusals(self, role: str | None = None) -> list[Bind]:
        """Return the refused logins."""
        return [bind for bind in self.binds if not bind.is_accepted and role in (None, bind.role)]

    def leaks_in(self, text: str) -> list[int]:
        """Return a non-empty list if `text` shows a token ever issued or presented here, or another secret."""
        known = [token.value for token in self.issuer.issued] + list(self._presented)
        return find_leaks(text, [*known, self.identity_header, self.assertion, self.aws_key.secret])

    # How it works

    def _judge(self, name: str, password: str) -> str | None:
        role, _, server = name.removeprefix("cn=").rpartition(",ou=")
        self._presented[password] = None
        subject = self._azure_roles.get(role)
        endpoint = self._endpoints.get(server)
        if endpoint is None:
            reason: str | None = "unknown_server"
        elif subject is not None:
            reason = self.issuer.refusal(password, subject=subject)
        else:
            reason = self.rds.refusal(password, role=role, endpoint=endpoint)
        digest = sha256(password.encode()).hexdigest()[:16]
        self.binds.append(Bind(role, server, reason, self.issuer.number_of(password), digest))
        return reason

    async def _handle(self, request: Request) -> Answer:
        behaviour = self.identity.behaviour
        answer = self.identity.answer(request)
        while behaviour.held and behaviour is self.identity.behaviour:  # noqa: ASYNC110 - another thread changes it
            await asyncio.sleep(_PAUSE_SECONDS)
        if behaviour.silent:
            while behaviour.silent and behaviour is self.identity.behaviour:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(_PAUSE_SECONDS)
            raise ConnectionAbortedError("it stays without an answer")
        if behaviour.delay_seconds:
            await asyncio.sleep(behaviour.delay_seconds)
        return answer

    async def _open(self) -> None:
        async with AsyncExitStack() as opened:
            for server in (self._directory, self._plain, self._secure):
                await server.open()
                opened.push_async_callback(server.close)
            opened.pop_all()

    async def _close(self) -> None:
        await self._directory.close()
        await self._close_identity()

    async def _open_identity(self) -> None:
        await self._plain.open()
        await self._secure.open()

    async def _close_identity(self) -> None:
        await self._plain.close()
        await self._secure.close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_SECONDS)
