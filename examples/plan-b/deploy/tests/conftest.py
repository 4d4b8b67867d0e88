"""The chain of Plan B on loopback: tokens of moto's Cognito, nginx, a DNS server, and the application twice."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from dnslib import RR, A
from dnslib.server import DNSLogger, DNSServer

DEPLOY = Path(__file__).parents[1]
sys.path.insert(0, str(DEPLOY))

from nginx_configuration import NginxConfiguration, build_configuration  # noqa: E402

from tegata_credentials.testing.secrets_manager import StandIn  # noqa: E402
from tegata_verify.testing import TestAlb  # noqa: E402

FRONT, STRANGER = "127.0.0.1", "127.0.0.9"
PATIENCE_SECONDS = 60


@pytest.fixture(scope="session")
def nginx() -> str:
    """Where Debian's nginx is."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
            pytest.fail("nginx is missing")
        pytest.skip("nginx is not installed")
    return found


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    with StandIn(region="eu-west-1") as running:
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition, what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, timeout=5).status_code == 200
    except httpx2.HTTPError:
        return False


class Names:
    """A DNS server in which every name has one address, which a test may change."""

    def __init__(self) -> None:
        self.address = "127.0.0.1"
        self.port = free_port()
        self._server = DNSServer(self, port=self.port, address="127.0.0.1", logger=DNSLogger(logf=lambda text: None))

    def resolve(self, request, handler):
        reply = request.reply()
        reply.add_answer(RR(request.q.qname, ttl=1, rdata=A(self.address)))
        return reply

    def __enter__(self) -> Names:
        self._server.start_thread()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._server.server.server_close()


class Nginx:
    """Debian's nginx with one configuration, in a directory of its own."""

    def __init__(self, program: str, directory: Path, config: NginxConfiguration) -> None:
        self.program, self.directory, self.file = program, directory, directory / "nginx.conf"
        self.url = f"http://127.0.0.1:{config.listen_port}"
        self._health = f"{self.url}{config.health_path}"
        self.file.write_text(build_configuration(config))

    def __enter__(self) -> Nginx:
        self._process = subprocess.Popen(
            [self.program, "-p", self.directory, "-e", "stderr", "-c", self.file, "-g", "daemon off;"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: answers(self._health), "nginx")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def reload(self) -> None:
        self._process.send_signal(signal.SIGHUP)


def configure(directory: Path, **given: object) -> NginxConfiguration:
    """A configuration for loopback, with its files in `directory`."""
    os.chmod(directory, 0o755)
    settings = {
        "listen_address": "127.0.0.1",
        "listen_port": free_port(),
        "back_ca": None,
        "resolver": "127.0.0.1",
        "resolver_valid_seconds": 1,
        "connect_seconds": 1,
        "workers": 1,
        "run_directory": str(directory),
        "access_log": str(directory / "access.log"),
        "error_log": str(directory / "error.log"),
    }
    return NginxConfiguration("back.plan-b.internal", [f"{FRONT}/32"], **{**settings, **given})


def serve_application(host: str, port: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "uvicorn", "app.main_app:app", "--app-dir", str(DEPLOY.parent)]
    return subprocess.Popen(
        [*command, "--host", host, "--port", str(port), "--http", "h11", "--log-level", "warning"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def make_user(stand_in: StandIn) -> SimpleNamespace:
    """A user of a new pool, logged in."""
    cognito = stand_in.client("cognito-idp", endpoint_url=stand_in.moto_url)
    pool = cognito.create_user_pool(PoolName="plan-b")["UserPool"]["Id"]
    flows = ["ALLOW_ADMIN_USER_PASSWORD_AUTH", "ALLOW_REFRESH_TOKEN_AUTH"]
    made = cognito.create_user_pool_client(UserPoolId=pool, ClientName="front", ExplicitAuthFlows=flows)
    client = made["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool, Username="visitor")
    words = {"UserPoolId": pool, "Username": "visitor", "Password": "Passw0rd!x"}
    cognito.admin_set_user_password(**words, Permanent=True)
    answer = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": "visitor", "PASSWORD": words["Password"]},
    )["AuthenticationResult"]
    subject = cognito.get_user(AccessToken=answer["AccessToken"])["UserAttributes"]
    cognito.close()
    found = next(item["Value"] for item in subject if item["Name"] == "sub")
    return SimpleNamespace(
        pool=pool, client=client, access=answer["AccessToken"], id_token=answer["IdToken"], subject=found
    )


class PublishedKey(ThreadingHTTPServer):
    """Where the front load balancer's public keys are."""

    def __init__(self, alb: TestAlb) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pem = alb.find_published(alb.rules.build_key_url(alb.arn, self.path.lstrip("/")))
                self.send_response(200 if pem else 404)
                self.end_headers()
                self.wfile.write(pem or b"")

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class FrontIssuer:
    """What `TestAlb` must know of the pool that it logs users in with."""

    clock = staticmethod(time.time)

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer


class Chain:
    """The running chain. A request with `headers` from `source` goes to nginx, as from the front load balancer."""

    def __init__(self, user: SimpleNamespace, alb: TestAlb, names: Names, nginx: Nginx) -> None:
        self.user, self.alb, self.names, self.nginx = user, alb, names, nginx

    def headers(self, **replaced: str) -> list[tuple[str, str]]:
        """What the front load balancer adds for the user."""
        return [
            ("x-amzn-oidc-accesstoken", replaced.get("access", self.user.access)),
            ("x-amzn-oidc-identity", replaced.get("identity", self.user.subject)),
            ("x-amzn-oidc-data", replaced.get("data", self.alb.mint_data(subject=self.user.subject))),
        ]

    def get(self, path: str, headers: list[tuple[str, str]], source: str = FRONT) -> httpx2.Response:
        transport = httpx2.HTTPTransport(local_address=source)
        with httpx2.Client(transport=transport, base_url=self.nginx.url, timeout=30) as client:
            return client.get(path, headers=headers)


@pytest.fixture(scope="module")
def chain(nginx: str, stand_in: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    user = make_user(stand_in)
    issuer = f"https://cognito-idp.eu-west-1.amazonaws.com/{user.pool}"
    alb = TestAlb(FrontIssuer(issuer), client_id=user.client)
    with ExitStack() as stack:
        keys = stack.enter_context(PublishedKey(alb))
        names = stack.enter_context(Names())
        port = free_port()
        environment = {
            "COGNITO_USER_POOL_ID": user.pool,
            "COGNITO_REGION": "eu-west-1",
            "COGNITO_APP_CLIENT_ID": user.client,
            "COGNITO_ENDPOINT_URL": stand_in.moto_url,
            "ALB_ARNS": alb.arn,
            "ALB_KEY_URL": f"http://127.0.0.1:{keys.server_port}/{{kid}}",
            "ALLOW_LOOPBACK_HTTP": "1",
            "TRUSTED_PEERS": "127.0.0.1/32",
            "FORWARDED_ALLOW_IPS": "none",
        }
        for host in ("127.0.0.1", "127.0.0.2"):
            process = serve_application(host, port, environment)
            stack.callback(process.wait)
            stack.callback(process.kill)
        for host in ("127.0.0.1", "127.0.0.2"):
            wait_until(lambda host=host: answers(f"http://{host}:{port}/health"), f"the application on {host}")
        directory = tmp_path_factory.mktemp("nginx")
        config = configure(directory, back_port=port, resolver_port=names.port)
        yield Chain(user, alb, names, stack.enter_context(Nginx(nginx, directory, config)))
