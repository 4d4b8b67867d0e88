"""`tegata serve` with traces, as a process of its own: what a collector gets of a sign-in, and what it must not get."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID

import httpx2
import psycopg
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from tegata.cli.databases import operator_storage
from tegata.cli.failures import USAGE
from tegata.cli.traces import are_on, check_traces
from tegata.crypto.digests import new_secret, s256
from tegata.crypto.envelope import Envelope, new_master_key
from tegata.flows.admin.apply import Operator, apply
from tegata.flows.admin.desired import resolve
from tegata.flows.admin.documents import parse_documents
from tegata.flows.admin.references import standard_references
from tegata.postgres.target import ConnectionTarget
from tegata.settings import Settings, SettingsError
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.collector import Collector, SeenSpan
from tegata_credentials.testing import free_port

TEGATA = Path(sys.executable).parent / "tegata"
PATIENCE_SECONDS = 60
CALLBACK = "https://rp.example.net/callback"
USERNAME, EMAIL, PERSON = "hanako-of-the-test", "hanako@mail.example.net", "Hanako Tegata"
AGENT, ADDRESS = "a-browser-of-a-test/7.7", "198.51.100.77"
DOCUMENTS = f"""
apiVersion: tegata.dev/v1
kind: Tenant
metadata: {{name: traced}}
spec: {{display_name: Traced, scopes: [{{name: read}}]}}
---
apiVersion: tegata.dev/v1
kind: Client
metadata: {{name: web-of-the-test, tenant: traced}}
spec:
  consent: implicit
  scope: openid profile email offline_access read
  redirect_uris: ["{CALLBACK}"]
  grant_types: [authorization_code, refresh_token]
  access_token_format: opaque
  secret_refs: ["env:CLIENT_SECRET"]
---
apiVersion: tegata.dev/v1
kind: Client
metadata: {{name: service-of-the-test, tenant: traced}}
spec:
  token_endpoint_auth_method: private_key_jwt
  grant_types: [client_credentials]
  response_types: []
  scope: read
  jwks_uri: KEYS
---
apiVersion: tegata.dev/v1
kind: User
metadata: {{name: {USERNAME}, tenant: traced}}
spec:
  claims: {{name: {PERSON}, email: {EMAIL}, email_verified: true}}
  password_ref: env:PASSWORD
"""


@dataclass
class Site:
    """A database with a tenant, and what `tegata serve` needs to know of it."""

    environment: dict[str, str]
    secrets: dict[str, str] = field(repr=False)
    admin: ConnectionTarget
    key: ECKey = field(repr=False)
    keys_port: int

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="module")
def keys() -> Iterator[tuple[ECKey, int]]:
    """A key of a client, and the port of the server that publishes it."""
    key = ECKey.generate_key("P-256", {"kid": "of-the-test"})
    document = json.dumps({"keys": [key.as_dict(private=False)]}).encode()

    class Published(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(document)

        def log_message(self, format: str, *args: object) -> None:
            """Write nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Published) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield key, server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def site(migrated_database: MigratedDatabase, keys: tuple[ECKey, int]) -> Site:
    secrets = {"CLIENT_SECRET": new_secret(), "PASSWORD": new_secret(), "KEYS": new_secret()}
    master = new_master_key()
    keys_uri = f"http://127.0.0.1:{keys[1]}/{secrets['KEYS']}?key={secrets['KEYS']}"
    text = DOCUMENTS.replace("jwks_uri: KEYS", f"jwks_uri: {keys_uri}")
    documents = parse_documents(text.encode(), "documents")
    desired = resolve(documents, standard_references(secrets))

    async def provision() -> None:
        async with operator_storage(migrated_database.maintenance) as storage:
            await apply(Operator(storage, Envelope.from_text(master)), desired)

    asyncio.run(provision())
    environment = {
        "PATH": os.environ["PATH"],
        "TEGATA_DATABASE_URL": migrated_database.app.psycopg_conninfo(),
        "TEGATA_MASTER_KEY": master,
        "TEGATA_ALLOW_INSECURE_BASE_URL": "true",
        "TEGATA_ALLOW_LOOPBACK_HTTP": "true",
        "TEGATA_METRICS_NETWORKS": "127.0.0.1",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    return Site(environment, secrets | {"MASTER": master}, migrated_database.admin, *keys)


@dataclass
class Served:
    """`tegata serve`, and what it has said."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def said(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def until(self, event: str, *, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.log.read_text().count(f'"event": "{event}"') < times:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def counted(self) -> dict[str, float]:
        """Return the counters of spans, of all processes."""
        text = httpx2.get(f"{self.address}/metrics", verify=False).text
        found: dict[str, float] = defaultdict(float)
        for outcome, value in re.findall(r'^tegata_trace_spans_total\{outcome="(\w+)",.*\} (\S+)$', text, re.M):
            found[outcome] += float(value)
        return found


@contextmanager
def served(site: Site, log: Path, **settings: str) -> Iterator[Served]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = site.environment | {"TEGATA_PORT": str(port), "TEGATA_BASE_URL": address} | settings
    with log.open("wb") as sink:
        process = subprocess.Popen([str(TEGATA), "serve"], env=environment, stdout=sink, stderr=subprocess.STDOUT)
    running = Served(process, address, log)
    try:
        running.until("serving", times=int(settings.get("TEGATA_WORKERS", "1")))
        yield running
    finally:
        running.stop()


@dataclass
class Flow:
    """A browser and a client that sign in, look around and leave; `seen`: every text that is nobody else's business."""

    address: str
    site: Site
    headers: dict[str, str] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict, repr=False)

    def run(self) -> None:
        headers = {"user-agent": AGENT, "x-forwarded-for": ADDRESS, **self.headers}
        with httpx2.Client(base_url=self.address, headers=headers, verify=False) as browser:
            code = self._signed_in(browser)
            self.seen |= {f"cookie {name}": value for name, value in browser.cookies.items()}
        with httpx2.Client(base_url=self.address, headers=headers, verify=False) as client:
            self._tokens(client, code)

    def _signed_in(self, browser: httpx2.Client) -> str:
        verifier, state, nonce = new_secret(), new_secret(), new_secret()
        parameters = {
            "client_id": "web-of-the-test",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid profile email offline_access read",
            "prompt": "consent",
            "state": state,
            "nonce": nonce,
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
        }
        page = browser.get("/traced/authorize", params=parameters, follow_redirects=True)
        csrf = unescape(re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1])  # type: ignore[index]
        handle = parse_qs(urlsplit(str(page.url)).query)["interaction"][0]
        wrong = {"csrf_token": csrf, "username": USERNAME, "password": "wrong-password-of-the-test"}
        assert browser.post(str(page.url), data=wrong).status_code == 200
        right = {**wrong, "password": self.site.secrets["PASSWORD"]}
        done = browser.post(str(page.url), data=right)
        if "/consent" in done.headers["location"]:
            asked = browser.get(done.headers["location"])
            fields = dict(re.findall(r'<input [^>]*name="([^"]+)" value="([^"]*)"', asked.text))
            answer = {name: unescape(value) for name, value in fields.items()} | {"decision": "approve"}
            done = browser.post(str(asked.url), data=answer)
        code = parse_qs(urlsplit(done.headers["location"]).query)["code"][0]
        self.seen |= {"verifier": verifier, "challenge": s256(verifier), "state": state, "nonce": nonce, "csrf": csrf}
        self.seen |= {"handle": handle, "code": code, "wrong password": wrong["password"]}
        return code

    def _tokens(self, client: httpx2.Client, code: str) -> None:
        secret = self.site.secrets["CLIENT_SECRET"]
        basic = ("web-of-the-test", secret)
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        answer = client.post("/traced/token", data={**grant, "code_verifier": self.seen["verifier"]}, auth=basic)
        tokens = answer.raise_for_status().json()
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        person = client.get("/traced/userinfo", headers=bearer).raise_for_status().json()
        assert client.post("/traced/introspect", data={"token": tokens["access_token"]}, auth=basic).json()["active"]
        fresh = (
            client.post(
                "/traced/token",
                data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
                auth=basic,
            )
            .raise_for_status()
            .json()
        )
        client.post("/traced/revoke", data={"token": fresh["refresh_token"]}, auth=basic).raise_for_status()
        again = client.post("/traced/token", data={**grant, "code_verifier": self.seen["verifier"]}, auth=basic)
        assert again.json()["error"] == "invalid_grant"
        self._service(client)
        # Secrets where they do not belong: in a path, in a query, in headers that tracing reads.
        astray = f"astray-{new_secret()}"
        self.seen["astray"] = astray
        assert client.get(f"/{astray}/token").status_code == 405
        assert client.get(f"/traced/{astray}?access_token={astray}").status_code == 404
        headers = {"traceparent": astray, "tracestate": f"a={astray}", "baggage": f"a={astray}", "host": astray}
        assert client.get(f"/traced/userinfo?access_token={astray}", headers=headers).status_code == 400
        self.seen |= {"basic": base64.b64encode(f"web-of-the-test:{secret}".encode()).decode(), "sub": person["sub"]}
        self.seen |= {f"{name} again": value for name, value in fresh.items() if name.endswith("_token")}
        self.seen |= {name: value for name, value in tokens.items() if name.endswith("_token")}

    def _service(self, client: httpx2.Client) -> None:
        """Get a token for a client whose key is at an address of its own."""
        now = int(time.time())
        name = "service-of-the-test"
        claims = {"iss": name, "sub": name, "aud": f"{self.address}/traced", "jti": new_secret(), "iat": now}
        assertion = jwt.encode({"alg": "ES256", "kid": "of-the-test"}, {**claims, "exp": now + 60}, self.site.key)
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        token = client.post("/traced/token", data=form).raise_for_status().json()["access_token"]
        self.seen |= {"assertion": assertion, "jti": str(claims["jti"]), "token of the service": token}


def spellings(text: str) -> Iterator[bytes]:
    """Yield a text as it could stand in bytes: itself, in other alphabets, and the parts of a JWT."""
    for part in {text, *(part for part in text.split(".") if len(part) > 20)}:
        raw = part.encode()
        yield from (raw, quote(part, safe="").encode(), raw.hex().encode())
        yield base64.b64encode(raw)[:-4].rstrip(b"=")
        yield base64.urlsafe_b64encode(raw)[:-4].rstrip(b"=")
    if re.fullmatch(r"[0-9a-f-]{36}", text):
        yield UUID(text).bytes


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@dataclass(frozen=True)
class Traced:
    """One flow, through a proxy whose word counts, and everything that was exported of it and logged."""

    flow: Flow
    spans: list[SeenSpan]
    bytes: bytes
    log: list[dict[str, Any]]
    counted: dict[str, float]


@pytest.fixture(scope="module")
def traced(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    with Collector() as collector:
        settings = {
            "TEGATA_TRACES": "otlp",
            "TEGATA_TRACES_PARENT": "proxy",
            "TEGATA_TRUSTED_PROXIES": "127.0.0.1",
            "TEGATA_LOG_LEVEL": "debug",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        with served(site, tmp_path_factory.mktemp("traced") / "log", **settings) as server:
            state = f"vendor={new_secret()}"
            flow = Flow(server.address, site, {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": state})
            flow.seen["tracestate"] = state
            flow.run()
            httpx2.get(f"{server.address}/readyz", verify=False)
            collector.until(lambda spans: any(span.name == "POST /{tenant}/revoke" for span in spans))
            counted = server.counted()
        return Traced(flow, collector.spans(), b"".join(collector.bodies), server.said(), counted)


def test_a_sign_in_is_one_trace_and_every_span_has_its_parent_in_it(traced: Traced) -> None:
    ids = {span.span_id for span in traced.spans}
    of_flow = [span for span in traced.spans if span.trace_id == TRACE]
    assert {span.parent_id for span in of_flow} <= {PARENT, *ids}
    requests = [span for span in of_flow if span.kind == "server"]
    assert {span.parent_id for span in requests} == {PARENT}
    names = {span.name for span in requests}
    assert {
        "GET /{tenant}/authorize",
        "POST /{tenant}/sign-in",
        "POST /{tenant}/token",
        "GET /{tenant}/userinfo",
    } <= names
    taken = next(span for span in of_flow if span.name == "tegata.take_code")
    (token,) = [span for span in requests if span.span_id == taken.parent_id]
    assert (taken.kind, token.name) == ("client", "POST /{tenant}/token")
    assert taken.attributes == {"db.system.name": "postgresql", "db.stored_procedure.name": "tegata.take_code"}


def test_no_byte_of_the_export_gives_anything_of_the_flow_away(traced: Traced) -> None:
    hidden = {**traced.flow.site.secrets, **traced.flow.seen}
    hidden |= {"login": USERNAME, "mail": EMAIL, "name": PERSON, "agent": AGENT, "address": ADDRESS}
    hidden |= {"redirect": CALLBACK, "client": "web-of-the-test"}
    assert len(hidden) > 25
    told = [name for name, text in hidden.items() if any(each in traced.bytes for each in spellings(text))]
    assert told == []


PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "trace-requests.md"


def test_every_attribute_of_a_span_is_on_the_page(traced: Traced) -> None:
    documented = set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", PAGE.read_text(encoding="utf-8")))
    assert {name for span in traced.spans for name in span.attributes} <= documented
    assert {span.events for span in traced.spans} == {0}
    assert {(span.state, span.said) for span in traced.spans} == {("", "")}


def test_what_the_flow_waited_for_is_told(traced: Traced) -> None:
    checks = [span for span in traced.spans if span.name == "password check"]
    assert len(checks) == 2
    assert all(check.attributes["tegata.password.queue_seconds"] >= 0 for check in checks)
    (fetched,) = [span for span in traced.spans if (span.kind, span.name) == ("client", "GET")]
    assert fetched.attributes == {
        "http.request.method": "GET",
        "url.scheme": "http",
        "server.address": "127.0.0.1",
        "server.port": traced.flow.site.keys_port,
        "http.response.status_code": 200,
    }
    (asking,) = [span for span in traced.spans if span.span_id == fetched.parent_id]
    assert asking.name == "POST /{tenant}/token"


def test_the_service_says_who_it_is(traced: Traced) -> None:
    (resource,) = {tuple(sorted(span.resource.items())) for span in traced.spans}
    said = dict(resource)
    assert (said["service.name"], said["deployment.environment.name"]) == ("tegata", "test")
    assert not [name for name in said if name.startswith(("process.", "host.", "os."))]


def test_errors_of_the_protocol_are_told_and_health_checks_are_not(traced: Traced) -> None:
    errors = {span.attributes.get("tegata.oauth.error") for span in traced.spans}
    assert {"invalid_grant", None} <= errors
    assert len({span.attributes["tegata.tenant"] for span in traced.spans if "tegata.tenant" in span.attributes}) == 1
    assert not [span for span in traced.spans if "/readyz" in str(span.attributes.get("http.route"))]


def test_what_became_of_the_spans_is_counted(traced: Traced) -> None:
    assert traced.counted["exported"] > 30
    assert (traced.counted["failed"], traced.counted["dropped"]) == (0, 0)


def test_a_fault_of_ours_is_in_the_trace_by_its_type_and_in_the_log_with_the_trace(site: Site, tmp_path: Path) -> None:
    basic = ("web-of-the-test", site.secrets["CLIENT_SECRET"])
    function = "tegata.find_opaque_token"
    with Collector() as collector:
        settings = {"TEGATA_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        site.sql(f"revoke execute on function {function} from tegata_app")
        try:
            with served(site, tmp_path / "log", **settings) as server:
                headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
                asked = f"{server.address}/traced/introspect"
                answer = httpx2.post(asked, data={"token": "hidden"}, auth=basic, headers=headers, verify=False)
                assert answer.status_code == 500
        finally:
            site.sql(f"grant execute on function {function} to tegata_app")
        (request,) = [span for span in collector.spans() if span.kind == "server"]
        (refused,) = [span for span in collector.spans() if span.name == "tegata.find_opaque_token"]
        exported = b"".join(collector.bodies)
    assert (request.failed, request.attributes["error.type"]) == (True, "500")
    assert (request.parent_id, request.links) == ("", ((TRACE, PARENT, ""),))
    assert (refused.failed, refused.attributes["db.response.status_code"]) == (True, "42501")
    assert b"hidden" not in exported
    assert b"permission denied" not in exported
    (line,) = [line for line in server.said() if line["event"] == "unexpected_error"]
    assert (line["trace_id"], line["span_id"]) == (request.trace_id, request.span_id)


def test_workers_serve_and_end_although_the_collector_answers_nobody(site: Site, tmp_path: Path) -> None:
    with Collector(holds=True) as collector:
        settings = {
            "TEGATA_TRACES": "otlp",
            "TEGATA_WORKERS": "2",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "OTEL_BSP_MAX_QUEUE_SIZE": "2",
        }
        with served(site, tmp_path / "log", **settings) as server:
            Flow(server.address, site).run()
            counted = server.counted()
            assert server.stop() == 0
    assert collector.requests >= 1
    assert counted["exported"] == 0
    assert counted["dropped"] > 20


def test_a_server_without_traces_loads_nothing_of_them_and_sends_nothing(site: Site, tmp_path: Path) -> None:
    with Collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "PYTHONPROFILEIMPORTTIME": "1"}
        with served(site, tmp_path / "log", **settings) as server:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            assert httpx2.get(f"{server.address}/traced/jwks", headers=headers, verify=False).status_code == 200
            assert server.counted() == {}
        assert collector.requests == 0
    said = (tmp_path / "log").read_text()
    assert "tegata.postgres.pool" in said  # modules are told
    assert re.findall(r"\| +(opentelemetry|google\.protobuf|requests)\b", said) == []


def test_without_the_extra_the_start_says_what_is_missing(site: Site, tmp_path: Path) -> None:
    (tmp_path / "opentelemetry").mkdir()
    (tmp_path / "opentelemetry" / "__init__.py").write_text("")
    settings = {"TEGATA_TRACES": "otlp", "PYTHONPATH": str(tmp_path), "TEGATA_BASE_URL": "https://id.example.com"}
    environment = site.environment | settings
    done = subprocess.run([str(TEGATA), "serve"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert done.stderr == (
        "tegata: TEGATA_TRACES is otlp, which takes the extra tegata[tracing]: pip install 'tegata[tracing]'\n"
    )


ON = Settings.from_environment({"TEGATA_TRACES": "otlp"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "5 %"),
        ("OTEL_PROPAGATORS", "tracecontext,telepathy"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_name(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name} "):
        check_traces(ON, {name: text})


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"},
        {"OTEL_PROPAGATORS": "tracecontext, xray", "OTEL_BSP_MAX_QUEUE_SIZE": "10"},
        {"OTEL_PROPAGATORS": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318"},
    ],
    ids=["nothing", "the nearer protocol", "sampler", "propagators", "no propagator"],
)
def test_what_can_be_used_is_not(environment: dict[str, str]) -> None:
    check_traces(ON, environment)


def test_the_standards_own_switch_is_stronger() -> None:
    assert are_on(ON, {})
    assert not are_on(ON, {"OTEL_SDK_DISABLED": "TRUE"})
    check_traces(ON, {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
