"""A service calls with a certificate and a token that is bound to it (RFC 8705 §3), through nginx that asks for one."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from chain import UNUSED, Names, free_port, serve_in_thread
from chain.certificates import ClientAuthority, ClientCertificate
from fastapi import Depends, FastAPI
from nginx_configuration import CERTIFICATE_HEADER, MTLS_HEADERS, OIDC_HEADERS, MutualTls

from tegata_credentials.testing.authority import Authority
from tegata_verify import Guard, Principal
from tegata_verify.client_certificates import ClientCertificates
from tegata_verify.fastapi import install, requires
from tegata_verify.testing import TestIssuer

NGINX, STRANGER = "127.0.0.1", "127.0.0.9"


class Service:
    """A service that takes bound tokens only, and remembers what reached it."""

    def __init__(self, issuer: TestIssuer) -> None:
        self.seen: list[list[tuple[str, str]]] = []
        self.app = FastAPI()
        certificates = ClientCertificates.nginx([f"{NGINX}/32"], header=CERTIFICATE_HEADER, required=True)
        install(self.app, Guard(issuer.verifier(), certificates=certificates))

        @self.app.get("/orders")
        async def orders(caller: Principal = Depends(requires(scope="orders"))) -> str:  # noqa: B008 - FastAPI's way
            return caller.subject

        @self.app.middleware("http")
        async def remember(request, following):
            self.seen.append(request.headers.items())
            return await following(request)


@pytest.fixture(scope="module")
def running(start_nginx) -> Iterator[SimpleNamespace]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plan-b-")))
        names = stack.enter_context(Names())
        issuer = TestIssuer()
        service = Service(issuer)
        back_port, port = free_port(), free_port()
        stack.enter_context(serve_in_thread(service.app, "127.0.0.1", back_port))
        clients, others = ClientAuthority(directory), ClientAuthority(directory, "others")

        def prepare(own: Path) -> dict[str, object]:
            server = Authority(own, "Server").issue("server", "127.0.0.1", "localhost")
            root = own / "clients.pem"
            root.write_bytes(clients.root.read_bytes())
            return {"mutual_tls": MutualTls(port, str(server.certificate), str(server.key), str(root))}

        nginx = start_nginx(prepare, back_port=back_port, resolver_port=names.port)
        yield SimpleNamespace(
            nginx=nginx,
            service=service,
            issuer=issuer,
            clients=clients,
            others=others,
            url=f"https://127.0.0.1:{port}",
            back=f"http://127.0.0.1:{back_port}",
            server_root=nginx.directory / "server-root.pem",
            billing=clients.issue("billing"),
            reports=clients.issue("reports"),
        )


def token_of(running, certificate: ClientCertificate | None) -> str:
    """Return a service's token for orders, bound to a certificate."""
    claims = {"cnf": {"x5t#S256": certificate.thumbprint}} if certificate else {}
    return running.issuer.mint(subject="billing", client_id="billing", scope="orders", claims=claims)


def call(
    running, certificate: ClientCertificate | None, token: str, headers: tuple[tuple[str, str], ...] = ()
) -> httpx2.Response:
    """Ask for orders at the port for services."""
    if certificate is None:
        context = ssl.create_default_context(cafile=str(running.server_root))
    else:
        context = certificate.build_context(running.server_root)
    with httpx2.Client(verify=context, trust_env=False, timeout=60) as client:
        return client.get(f"{running.url}/orders", headers=[("authorization", f"Bearer {token}"), *headers])


def test_a_token_is_good_with_its_certificate(running) -> None:
    answer = call(running, running.billing, token_of(running, running.billing))
    assert (answer.status_code, answer.json()) == (200, "billing")


def test_a_stolen_token_is_no_good_with_another_certificate(running) -> None:
    answer = call(running, running.reports, token_of(running, running.billing))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


def test_a_token_that_is_bound_to_nothing_is_refused(running) -> None:
    assert call(running, running.billing, token_of(running, None)).status_code == 401


def test_without_a_certificate_nobody_gets_past_nginx(running) -> None:
    before = len(running.service.seen)
    refused = call(running, None, token_of(running, running.billing))
    assert refused.status_code == 400
    assert len(running.service.seen) == before


BAD_CERTIFICATES = {
    "of another authority that has the same name": lambda running: running.others.issue("billing"),
    "that expired a minute ago": lambda running: running.clients.issue("expired", from_days=-1, to_days=-1 / 1440),
    "that is not good before tomorrow": lambda running: running.clients.issue("early", from_days=0.9, to_days=2),
    "for servers": lambda running: running.clients.issue("server", server=True),
    "signed by itself": lambda running: running.clients.issue("alone", alone=True),
}


@pytest.mark.parametrize("case", BAD_CERTIFICATES)
def test_a_certificate_is_refused_by_nginx(running, case: str) -> None:
    """The token is bound to that very certificate: it is nginx who judges chain, dates and purpose."""
    certificate = BAD_CERTIFICATES[case](running)
    before = len(running.service.seen)
    assert call(running, certificate, token_of(running, certificate)).status_code == 400
    assert len(running.service.seen) == before


def spoofed(running) -> dict[str, tuple[tuple[str, str], ...]]:
    """The ways to say that one has somebody else's certificate, which is public."""
    pem, name = running.billing.escaped, CERTIFICATE_HEADER
    return {
        "its name": ((name, pem),),
        "in capitals": ((name.upper(), pem),),
        "twice": ((name, pem), (name, pem)),
        "with underscores": ((name.replace("-", "_"), pem),),
        "of a load balancer": tuple((header, pem) for header in MTLS_HEADERS),
        "of RFC 9440": (("Client-Cert", pem),),
        "as something to be dropped on the way": (("Connection", name), (name, pem)),
    }


WAYS = [
    "its name",
    "in capitals",
    "twice",
    "with underscores",
    "of a load balancer",
    "of RFC 9440",
    "as something to be dropped on the way",
]


@pytest.mark.parametrize("way", WAYS)
def test_a_header_of_the_client_says_nothing_of_its_certificate(running, way: str) -> None:
    headers = spoofed(running)[way]
    assert call(running, running.reports, token_of(running, running.billing), headers).status_code == 401
    assert call(running, running.reports, token_of(running, running.reports), headers).status_code == 200
    arrived = [value for name, value in running.service.seen[-1] if name == CERTIFICATE_HEADER.lower()]
    assert arrived == [running.reports.escaped]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("source", [NGINX, STRANGER], ids=["by the front load balancer", "by a stranger"])
def test_the_port_for_browsers_knows_no_certificates(running, way: str, source: str) -> None:
    headers = [("authorization", f"Bearer {token_of(running, running.billing)}"), *spoofed(running)[way]]
    transport = httpx2.HTTPTransport(local_address=source, verify=UNUSED)
    with httpx2.Client(transport=transport, base_url=running.nginx.url, trust_env=False, timeout=60) as client:
        assert client.get("/orders", headers=headers).status_code == 401
    names = {name for name, _ in running.service.seen[-1]}
    assert CERTIFICATE_HEADER.lower() not in names
    if source == STRANGER:
        assert names.isdisjoint(name.lower() for name in MTLS_HEADERS)


def test_past_nginx_the_header_is_not_believed(running) -> None:
    """A trusted proxy is one by the address of its connection."""
    headers = {
        "authorization": f"Bearer {token_of(running, running.billing)}",
        CERTIFICATE_HEADER: running.billing.escaped,
    }
    for source, expected in ((STRANGER, 401), (NGINX, 200)):
        transport = httpx2.HTTPTransport(local_address=source, verify=UNUSED)
        with httpx2.Client(transport=transport, trust_env=False, timeout=60) as client:
            assert client.get(f"{running.back}/orders", headers=headers).status_code == expected


def test_what_a_load_balancer_says_of_users_is_not_taken_from_a_service(running) -> None:
    headers = tuple((name, "x") for name in OIDC_HEADERS)
    assert call(running, running.billing, token_of(running, running.billing), headers).status_code == 200
    assert {name for name, _ in running.service.seen[-1]}.isdisjoint(name.lower() for name in OIDC_HEADERS)
