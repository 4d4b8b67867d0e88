"""The whole chain: browser, front load balancer, nginx, DNS, application."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2

from chain.application import serve_application
from chain.documents import Documents
from chain.front import FrontLoadBalancer
from chain.names import Names
from chain.nginx import FRONT, Nginx, configure, find_nginx
from chain.pool import LoggedIn, Pool
from chain.sessions import BuildPage
from chain.waiting import UNUSED, free_port
from tegata_verify.testing import TestAlb

STRANGER = "127.0.0.9"
"""An address that is not the front load balancer's."""

BACKS = ("127.0.0.1", "127.0.0.2")
"""Where the application runs."""

Headers = list[tuple[str, str]]


class Chain:
    """The running chain. `user` is logged in already; `get` goes straight to nginx, `visit` through the front.

    `documents` publishes the keys. `application_log` is where the application says why it refused. `since` is when it
    began, by the monotonic clock.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        alb: TestAlb,
        front: FrontLoadBalancer,
        names: Names,
        nginx: Nginx,
        documents: Documents,
        application_log: Path,
    ) -> None:
        self.pool, self.alb, self.front, self.names, self.nginx = pool, alb, front, names, nginx
        self.documents, self.application_log = documents, application_log
        self.since = time.monotonic()
        self.pool.add_user("visitor", "Passw0rd!x")
        found = self.pool.log_in("visitor", "Passw0rd!x")
        assert found is not None
        self.user: LoggedIn = found
        self.session = self.front.begin_session(self.user)

    def headers(self, *, access: str | None = None, identity: str | None = None, data: str | None = None) -> Headers:
        """Return what the front load balancer adds for the user, with parts replaced."""
        return [
            ("x-amzn-oidc-accesstoken", self.user.access if access is None else access),
            ("x-amzn-oidc-identity", self.user.subject if identity is None else identity),
            ("x-amzn-oidc-data", self.alb.mint_data(subject=self.user.subject) if data is None else data),
        ]

    def get(self, path: str, headers: Headers, source: str = FRONT) -> httpx2.Response:
        """Ask nginx from `source`, as the front or somebody else would."""
        with self.open(source) as client:
            return client.get(path, headers=headers)

    def open(self, source: str = FRONT) -> httpx2.Client:
        """Return a client of nginx whose connections come from `source`."""
        transport = httpx2.HTTPTransport(local_address=source, verify=UNUSED)
        return httpx2.Client(transport=transport, base_url=self.nginx.url, timeout=60, trust_env=False)

    def visit(self, path: str, headers: Headers | None = None, *, session: bool = True) -> httpx2.Response:
        """Ask the front, with the user's session or as somebody unknown."""
        cookies = [("cookie", self.session)] if session else []
        with httpx2.Client(base_url=self.front.url, timeout=60, trust_env=False, verify=UNUSED) as client:
            return client.get(path, headers=[*cookies, *(headers or [])])

    @property
    def secrets(self) -> list[str]:
        """What must stand in no log: tokens in part and in whole, and the session."""
        tokens = [self.user.access, self.user.id_token, *self.front.sent]
        return [self.session.partition("=")[2], *{token.rsplit(".", 1)[-1] for token in tokens}]


@contextmanager
def run_chain(
    moto: Any,
    directory: Path,
    *,
    nginx: str | None = None,
    backs: tuple[str, ...] = BACKS,
    front_port: int = 0,
    unauthenticated: str = "deny",
    login_page: BuildPage | None = None,
    **configuration: Any,
) -> Iterator[Chain]:
    """Start everything, and end it with the block; `configuration` is for `NginxConfiguration`.

    `moto` is a running `StandIn`. `directory` is nginx's, and what the application says goes there too.
    """
    program = nginx or find_nginx()
    if program is None:
        raise RuntimeError("nginx is not installed")
    with ExitStack() as stack:
        documents = stack.enter_context(Documents())
        pool = stack.enter_context(Pool(moto))
        alb = TestAlb(pool, client_id=pool.client_id)  # type: ignore[arg-type]  # asks for its issuer and clock alone
        documents.sources += [pool.read, lambda path: alb.find_published(alb.rules.build_key_url(alb.arn, path[1:]))]
        names = stack.enter_context(Names())
        port = free_port()
        environment = build_environment(pool, alb, documents)
        log = directory / "application.log"
        stack.enter_context(serve_application(backs, port, environment, log=log))
        config = configure(directory, back_port=port, resolver_port=names.port, **configuration)
        running = stack.enter_context(Nginx(program, directory, config))
        front = FrontLoadBalancer(
            ("127.0.0.1", running.port),
            alb,
            pool.log_in,
            port=front_port,
            unauthenticated=unauthenticated,
            login_page=login_page,
        )
        yield Chain(
            pool=pool,
            alb=alb,
            front=stack.enter_context(front),
            names=names,
            nginx=running,
            documents=documents,
            application_log=log,
        )


def build_environment(pool: Pool, alb: TestAlb, documents: Documents) -> dict[str, str]:
    """Return the application's settings: those of the README, and where the keys are on this machine."""
    return {
        "COGNITO_USER_POOL_ID": pool.id,
        "COGNITO_REGION": pool.id.partition("_")[0],
        "COGNITO_APP_CLIENT_ID": pool.client_id,
        "COGNITO_ENDPOINT_URL": documents.url,
        "ALB_ARNS": alb.arn,
        "ALB_KEY_URL": f"{documents.url}/{{kid}}",
        "ALLOW_LOOPBACK_HTTP": "1",
        "TRUSTED_PEERS": "127.0.0.1/32",
        "FORWARDED_ALLOW_IPS": "none",
    }
