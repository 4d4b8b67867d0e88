"""The composition root: settings and storage in, one ASGI application out. The only place that knows all classes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from tegata.api.health import HealthEndpoints
from tegata.api.http import Receive, Response, Scope, Send, send_response
from tegata.api.metrics import METRICS_PATH, CountedRequests, MetricsEndpoint
from tegata.api.oauth import OAuthEndpoints
from tegata.api.routes import PlainHandler, Route, Router
from tegata.api.traces import TracedRequests
from tegata.crypto.envelope import Envelope
from tegata.flows.client_keys import ClientKeys, RemoteKeys
from tegata.flows.directory import Directory
from tegata.flows.own_tokens import OwnTokens
from tegata.flows.passwords import PasswordPool
from tegata.flows.services import Services
from tegata.outbound.safe_transport import SafeTransport
from tegata.outbound.traced_transport import TracedTransport
from tegata.settings import Settings
from tegata.storage.ports import Changes, Storage
from tegata.telemetry.audit import AuditQueue
from tegata.telemetry.metrics import OneWorker, Source, Workers
from tegata.telemetry.spans import Tracer
from tegata.web.assets import Assets
from tegata.web.authorize import AuthorizeEndpoint
from tegata.web.consent import ConsentEndpoint
from tegata.web.cookies import Cookies
from tegata.web.developer import DeveloperPages
from tegata.web.front import Front
from tegata.web.locales import load_catalogues
from tegata.web.logout import LogoutEndpoint
from tegata.web.rendering import Renderer
from tegata.web.sign_in import SignInEndpoint
from tegata.web.static_files import StaticFiles
from tegata_verify.documents import DocumentFetcher
from tegata_verify.issuers import Generic
from tegata_verify.keys import JwksCache

AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]
_HSTS = (b"strict-transport-security", b"max-age=63072000; includeSubDomains")


@dataclass(frozen=True, slots=True)
class Backend:
    """An opened store. `auth_method` is what /health/db says, `samples` what /metrics says of it."""

    storage: Storage
    changes: Changes
    close: Callable[[], Awaitable[None]]
    auth_method: str = "password"
    samples: Source = tuple


@dataclass(frozen=True, slots=True)
class Development:
    """What `tegata dev` adds: pages, and applications mounted below a prefix such as `/example-api`."""

    pages: DeveloperPages
    mounts: Mapping[str, AsgiApp] = field(default_factory=dict)


class Tegata:
    """The ASGI application. Opens its store when the server starts and closes it when the server stops."""

    def __init__(
        self,
        settings: Settings,
        open_backend: Callable[[], Awaitable[Backend]],
        *,
        development: Development | None = None,
        clock: Callable[[], float] = time.time,
        workers: Workers | None = None,
        tracer: Tracer | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if settings.base_url is None or settings.master_key is None:
            raise ValueError("base_url and master_key are needed to serve")
        if development is not None and settings.environment != "development":
            raise ValueError("the developer's pages exist in development only")
        self._settings = settings
        self._open_backend = open_backend
        self._development = development
        self._clock = clock
        self._workers = workers or OneWorker()
        self._tracer = tracer
        self._pause = pause
        self._router: AsgiApp | None = None
        self.endpoints: Mapping[str, Route] = {}  # what answers below every tenant, once it has been started
        self._health: HealthEndpoints | None = None
        self._stack = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served here")
        elif self._router is None:
            await send_response(Response(503, b"", ((b"retry-after", b"2"),)), send, head=False)
        elif (mounted := self._mounted(scope["path"])) is not None:
            await mounted[1](_below(scope, mounted[0]), receive, send)
        else:
            await self._router(scope, receive, send)

    async def start(self) -> None:
        """Open the store and build the routes. If that fails, what was opened is closed again."""
        async with AsyncExitStack() as stack:
            backend = await self._open_backend()
            stack.push_async_callback(backend.close)
            services = self._services(backend)
            backend.changes.subscribe(services.directory.changed)
            stack.callback(services.passwords.close)
            services.audit.start()
            stack.push_async_callback(services.audit.stop)
            self._health = HealthEndpoints(
                backend.storage,
                self._clock,
                auth_method=backend.auth_method,
                keys_are_usable=lambda: services.directory.keys_are_usable,
            )
            router = self._build_router(services, self._health)
            self.endpoints = router.endpoints
            counted = await self._counted(router, backend, stack) if self._settings.metrics_networks else router
            self._router = self._traced(counted, router)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Write what waits, close the store."""
        self._router = None
        await self._stack.aclose()

    async def drain(self) -> None:
        """Tell load balancers to go elsewhere, and give them time to hear it."""
        if self._health is not None:
            self._health.draining = True
        await self._pause(self._settings.drain_seconds)

    async def _counted(self, router: Router, backend: Backend, stack: AsyncExitStack) -> CountedRequests:
        counted = CountedRequests(router, router.name_of)
        await self._workers.start(lambda: chain(counted.samples(), backend.samples()))
        stack.push_async_callback(self._workers.stop)
        return counted

    def _traced(self, app: AsgiApp, router: Router) -> AsgiApp:
        settings = self._settings
        if self._tracer is None:
            return app
        trusted = settings.trusted_proxies if settings.traces_parent == "proxy" else ()
        return TracedRequests(app, router.name_of, self._tracer, base_url=settings.base_url or "", trusted=trusted)

    def _services(self, backend: Backend) -> Services:
        settings = self._settings
        assert settings.base_url is not None
        assert settings.master_key is not None
        envelope = Envelope.from_text(settings.master_key.get_secret_value())
        return Services(
            storage=backend.storage,
            directory=self._directory(backend, envelope, settings.base_url),
            own_tokens=OwnTokens(),
            client_keys=ClientKeys(self._remote_keys),
            passwords=PasswordPool(
                threads=settings.password_threads, queue=settings.password_queue, tracer=self._tracer
            ),
            audit=AuditQueue(backend.storage, clock=self._clock),
            clock=self._clock,
            throttle=settings.throttle,
            allow_loopback_http=settings.allow_loopback_http,
        )

    def _directory(self, backend: Backend, envelope: Envelope, base_url: str) -> Directory:
        return Directory(backend.storage, envelope, self._clock, base_url=base_url)

    def _remote_keys(self, jwks_uri: str) -> RemoteKeys:
        """Return the key cache of one client's jwks_uri, behind the SSRF-safe transport."""
        allowed = self._settings.allow_loopback_http
        tracer = self._tracer

        def transport() -> SafeTransport | TracedTransport:
            safe = SafeTransport(allow_loopback=allowed)
            return safe if tracer is None else TracedTransport(safe, tracer)

        fetcher = DocumentFetcher(transport=transport, max_bytes=65_536, allow_loopback_http=allowed)
        # The cache asks for an issuer's rules; of these only the place and the form of the keys matter here. The place
        # does not serve as its issuer: unlike one, it may have a query (RFC 7591 §2).
        source = Generic("", ("client",), jwks_uri=jwks_uri, allow_loopback_http=allowed)
        return JwksCache(source, fetcher, clock=self._clock)

    def _build_router(self, services: Services, health: HealthEndpoints) -> Router:
        secure = (self._settings.base_url or "").startswith("https:")
        assets, renderer = self._pages()
        front = Front(services, renderer, Cookies(secure=secure))
        exact: dict[str, PlainHandler] = health.routes()
        if self._settings.metrics_networks:
            exact[METRICS_PATH] = MetricsEndpoint(self._workers, self._settings.metrics_networks)
        if self._development is not None:
            exact.update(self._development.pages.routes(front, self._settings.base_url or ""))
        return Router(
            services.directory,
            {
                **OAuthEndpoints(services, self._settings.jwks_max_age_seconds).routes(),
                **AuthorizeEndpoint(front).routes(),
                **SignInEndpoint(front).routes(),
                **ConsentEndpoint(front).routes(),
                **LogoutEndpoint(front).routes(),
            },
            exact,
            StaticFiles(assets).prefixes(),
            render=front.error,
            trusted_proxies=self._settings.trusted_proxies,
            security_headers=(_HSTS,) if secure else (),
        )

    def _pages(self) -> tuple[Assets, Renderer]:
        """Read the static files and make the templates ready; both hold no state after that."""
        assets = Assets()
        return assets, Renderer(assets, load_catalogues())

    def _mounted(self, path: str) -> tuple[str, AsgiApp] | None:
        if self._development is not None:
            for prefix, mounted in self._development.mounts.items():
                if path == prefix or path.startswith(prefix + "/"):
                    return prefix, mounted
        return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self.start()
                except Exception as error:
                    # Unsaid, a server may take it that there is nothing to start, and go on.
                    await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
                    raise
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await self.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _below(scope: Scope, prefix: str) -> dict[str, Any]:
    """Return the scope as an application mounted at `prefix` expects it (ASGI: path keeps the root path)."""
    return {**scope, "root_path": str(scope.get("root_path", "")) + prefix}
