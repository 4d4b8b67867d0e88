"""The real application over memory or PostgreSQL, in this process: two tenants with the same names for everything.

`serving()` yields a `Server`; `Server.request` is one HTTP request to it. The tenants `acme` and `other` have clients
and users of the same names with different secrets and ids, so that a test which mixes the tenants up notices it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import unquote, urlencode, urljoin, urlsplit
from uuid import UUID, uuid5

from pydantic import SecretStr

from tegata.app import Backend, Development, Tegata
from tegata.crypto.digests import digest_of, new_secret
from tegata.crypto.envelope import Envelope, new_master_key
from tegata.crypto.keys import SigningKey, generate_key, private_bytes, public_jwk
from tegata.crypto.signing import load_signer
from tegata.flows.directory import SIGNING_KEY_PURPOSE, Directory
from tegata.flows.passwords import PasswordPool
from tegata.flows.services import Services
from tegata.identifiers import TenantId, UserId
from tegata.protocol.client import Client, ClientSecret
from tegata.protocol.policy import Resource, ScopeText, SigningAlgorithm, TenantPolicy
from tegata.settings import Settings
from tegata.storage.ports import OperatorStorage
from tegata.storage.records import AuditEvent, DesiredUser, SigningKeyRecord, TenantRecord
from tegata.telemetry.spans import Tracer
from tegata.testing.clock import SetClock
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.memory import MemoryStorage
from tegata.testing.seeds import seeded_clients
from tegata.testing.stores import in_memory, on_postgres
from tegata.web.assets import Assets
from tegata.web.locales import load_catalogues
from tegata.web.rendering import Renderer

BASE_URL = "https://id.example.com"
CALLBACK = "https://rp.example.net/callback"
SIGNED_OUT = "https://rp.example.net/signed-out"
PASSWORD = "correct horse battery staple"
DISABLED_PASSWORD = "this account is closed"
API, OTHER_API = "https://api.example.org/orders", "https://api.example.org/stock"
_NAMESPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response."""

    url: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> dict[str, Any]:
        document = json.loads(self.body)
        assert isinstance(document, dict)
        return document

    @property
    def location(self) -> str | None:
        """Where a redirect leads, absolute."""
        found = self.header("location")
        return None if found is None else urljoin(self.url, found)

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key == name]

    def header(self, name: str) -> str | None:
        """Return the one value of a header."""
        found = self.all(name)
        assert len(found) <= 1, f"{name} stands more than once"
        return found[0] if found else None


class QuickPasswords(PasswordPool):
    """Hashes without work in them, and a list of what was checked. They look like hashes of today's parameters."""

    def __init__(self) -> None:
        super().__init__(threads=1, queue=0)
        self.checked: list[tuple[str | None, str]] = []

    async def verify(self, password_hash: str | None, password: str) -> bool:
        self.checked.append((password_hash, password))
        await asyncio.sleep(0)
        return password_hash is not None and password_hash.endswith(_dressed(password))

    async def hash(self, password: str) -> str:
        return quick_hash(password)


def quick_hash(password: str, *, outdated: bool = False) -> str:
    """Return a hash that `QuickPasswords` takes. `outdated`: one that sign-in should replace."""
    return f"$argon2id$v=19$m=19456,t={1 if outdated else 2},p=1$dGVnYXRhLXRlc3RpbmctLQ${_dressed(password)}"


def _dressed(password: str) -> str:
    return base64.b64encode(hashlib.sha256(password.encode()).digest()).rstrip(b"=").decode()


class Interleaved:
    """Storage that lets every other task go first, as a network would. Pass it as `through`."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            answer = await method(*args, **kwargs)
            await asyncio.sleep(0)
            return answer

        return call


@dataclass(slots=True)
class SeededTenant:
    """A tenant and what only its operator and its clients know."""

    tenant_id: TenantId
    name: str
    issuer: str
    users: dict[str, UserId]
    secrets: dict[str, str] = field(repr=False)
    assertion_key: SigningKey = field(repr=False)

    def assertion(self, now: float, **claims: Any) -> str:
        """Return a client assertion of the client `jwt` (RFC 7523 §3); `claims` replace, None removes."""
        full: dict[str, Any] = {
            "iss": "jwt",
            "sub": "jwt",
            "aud": self.issuer,
            "jti": new_secret(),
            "iat": int(now),
            "exp": int(now) + 60,
            **claims,
        }
        signer = load_signer("ES256", "assertion", private_bytes(self.assertion_key))
        return signer.sign({name: value for name, value in full.items() if value is not None}, typ="JWT")


class _ObservedTegata(Tegata):
    """Shows the services that it was built with, and checks passwords without work."""

    observed: Services
    passwords: PasswordPool | None = None

    def _services(self, backend: Backend) -> Services:
        services = super()._services(backend)
        self.observed = services if self.passwords is None else replace(services, passwords=self.passwords)
        return self.observed

    def _directory(self, backend: Backend, envelope: Envelope, base_url: str) -> Directory:
        return Directory(backend.storage, envelope, self._clock, base_url=base_url, load=_load_once)

    def _pages(self) -> tuple[Assets, Renderer]:
        return _made_once()


# An RSA key is examined when it is read, which takes longer than most tests.
_load_once = cache(load_signer)


@cache
def _made_once() -> tuple[Assets, Renderer]:
    """Compiling the templates takes longer than most tests."""
    assets = Assets()
    return assets, Renderer(assets, load_catalogues())


@dataclass(slots=True)
class Server:
    """A running application and everything behind it."""

    app: Tegata
    storage: OperatorStorage
    clock: SetClock
    passwords: QuickPasswords
    base_url: str
    tenants: dict[str, SeededTenant]
    envelope: Envelope = field(repr=False)

    @property
    def services(self) -> Services:
        assert isinstance(self.app, _ObservedTegata)
        return self.app.observed

    async def request(
        self,
        method: str,
        target: str,
        *,
        fields: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        address: str = "192.0.2.1",
    ) -> Reply:
        """Send one request. `target`: path or URL; `fields`: sent as a form."""
        all_headers = {name.lower(): value for name, value in (headers or {}).items()}
        if fields is not None:
            body = urlencode(fields).encode()
            all_headers.setdefault("content-type", "application/x-www-form-urlencoded")
        url = urljoin(self.base_url + "/", target)
        return await send(self.app, method, url, headers=all_headers, body=body or b"", address=address)

    async def audit(self, tenant: str = "acme", type_prefix: str = "") -> list[AuditEvent]:
        """Return the tenant's audit events, oldest first."""
        await self.services.audit.flush()
        found = await self.storage.read_events(
            self.tenants[tenant].tenant_id, limit=100_000, type_prefix=type_prefix or None
        )
        return list(reversed(found))

    async def reasons(self, tenant: str = "acme") -> list[str]:
        """Return "type reason" of every failure in the audit log, oldest first."""
        return [f"{e.type} {e.reason}" for e in await self.audit(tenant) if e.outcome == "failure"]

    async def change_client(self, client_id: str, tenant: str = "acme", **members: Any) -> None:
        """Change members of a client's metadata."""
        tenant_id = self.tenants[tenant].tenant_id
        client = await self.storage.find_client(tenant_id, client_id)
        assert client is not None
        changed = replace(client, metadata=replace(client.metadata, **members))
        await self.storage.put_client(tenant_id, changed, events=())

    async def change_policy(self, tenant: str = "acme", **members: Any) -> None:
        """Change members of a tenant's policy."""
        record = await self.storage.find_tenant(tenant)
        assert record is not None
        await self.storage.update_tenant(record.tenant_id, replace(record.policy, **members), events=())

    async def put_user(self, username: str, tenant: str = "acme", **members: Any) -> None:
        """Create or change a user."""
        seeded = self.tenants[tenant]
        user_id = seeded.users.setdefault(username, UserId(uuid5(_NAMESPACE, f"{tenant}/{username}")))
        desired = DesiredUser(username, **{"claims": _claims(username), "roles": (), **members})
        await self.storage.put_user(seeded.tenant_id, user_id, desired, events=())


@asynccontextmanager
async def serving(
    *,
    base_url: str = BASE_URL,
    through: Callable[[MemoryStorage], Any] | None = None,
    database: MigratedDatabase | None = None,
    development: Development | None = None,
    quick_passwords: bool = True,
    tracer: Tracer | None = None,
    **settings: Any,
) -> AsyncIterator[Server]:
    """Start the application with its tenants, over memory or over `database`.

    `through` wraps the memory that the application sees; `settings` are as in `Settings`.
    """
    clock, master_key = SetClock(), new_master_key()
    stores = in_memory(clock, through) if database is None else await on_postgres(database)

    async def open_backend() -> Backend:
        return stores.backend

    values = {"environment": "production" if development is None else "development", **settings}
    app = _ObservedTegata(
        Settings(base_url=base_url, master_key=SecretStr(master_key), **values),
        open_backend,
        development=development,
        clock=clock,
        tracer=tracer,
    )
    passwords = QuickPasswords()
    app.passwords = passwords if quick_passwords else None
    server = Server(app, stores.operator, clock, passwords, base_url, {}, Envelope.from_text(master_key))
    for name in ("acme", "other"):
        await _seed(server, name)
    await app.start()
    try:
        yield server
    finally:
        await app.stop()


async def send(
    app: Callable[..., Any],
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes = b"",
    address: str = "192.0.2.1",
) -> Reply:
    """Send one request to an ASGI application and return its whole answer."""
    parts = urlsplit(url)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in {"host": parts.netloc, **headers}.items()
        ],
        "client": (address, 50_000),
        "server": (parts.hostname, parts.port or 443),
        "root_path": "",
    }
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def collect(message: dict[str, Any]) -> None:
        messages.append(message)

    await app(scope, receive, collect)
    start, *rest = messages
    answered = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
    return Reply(url, start["status"], answered, b"".join(message.get("body", b"") for message in rest))


async def _seed(server: Server, name: str) -> None:
    tenant_id = TenantId(uuid5(_NAMESPACE, name))
    policy = TenantPolicy(
        display_name=name.title(),
        scopes=(ScopeText("read", {"en": "Read your orders"}), ScopeText("write")),
        resources=(Resource(API), Resource(OTHER_API, scopes=("read",))),
    )
    salt = hashlib.sha256(name.encode()).digest()
    storage, now = server.storage, server.clock()
    await storage.create_tenant(TenantRecord(tenant_id, name, policy, salt), events=())
    for algorithm in ("ES256", "RS256"):
        await storage.add_key(tenant_id, _sealed(server.envelope, tenant_id, algorithm, now), events=())
    key = generate_key("ES256")
    seeded = SeededTenant(tenant_id, name, f"{server.base_url}/{name}", {}, {}, key)
    server.tenants[name] = seeded
    jwks = {"keys": [{**public_jwk(key), "kid": "assertion"}]}
    for client_id, metadata in seeded_clients(jwks, CALLBACK, SIGNED_OUT).items():
        secrets: tuple[ClientSecret, ...] = ()
        if metadata.token_endpoint_auth_method.startswith("client_secret"):
            seeded.secrets[client_id] = new_secret()
            secrets = (ClientSecret(digest_of(seeded.secrets[client_id])),)
        await storage.put_client(tenant_id, Client(client_id, metadata, secrets), events=())
    await server.put_user("taro", name, password_hash=quick_hash(PASSWORD), roles=("viewer",))
    await server.put_user("hanako", name, password_hash=quick_hash(PASSWORD))
    await server.put_user("closed", name, password_hash=quick_hash(DISABLED_PASSWORD), disabled=True)


def _claims(username: str) -> dict[str, Any]:
    address = {"email": f"{username}@example.com", "email_verified": True}
    return {"name": username.title(), **address, "phone_number": "+81 3 0000 0000"}


def _sealed(envelope: Envelope, tenant_id: TenantId, algorithm: SigningAlgorithm, now: float) -> SigningKeyRecord:
    key = _signing_key(tenant_id, algorithm)
    public = public_jwk(key)
    sealed = envelope.seal(private_bytes(key), tenant=str(tenant_id), purpose=SIGNING_KEY_PURPOSE)
    return SigningKeyRecord(public["kid"], algorithm, "active", public, sealed, now, now)


@cache
def _signing_key(tenant_id: TenantId, algorithm: SigningAlgorithm) -> SigningKey:
    """Make each tenant's keys once for a process: an RSA key takes a good part of a second."""
    return generate_key(algorithm)
