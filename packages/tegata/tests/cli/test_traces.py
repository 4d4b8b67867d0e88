"""`tegata serve` with traces, as a process of its own: what a collector gets of a sign-in, and what it must not get."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from joserfc.jwk import ECKey

from tegata.cli.databases import operator_storage
from tegata.crypto.digests import new_secret
from tegata.crypto.envelope import Envelope, new_master_key
from tegata.flows.admin.apply import Operator, apply
from tegata.flows.admin.desired import resolve
from tegata.flows.admin.documents import parse_documents
from tegata.flows.admin.references import standard_references
from tegata.testing.clusters import MigratedDatabase
from tegata.testing.collector import Collector, SeenSpan

from .traced_flow import (
    ADDRESS,
    AGENT,
    CALLBACK,
    DOCUMENTS,
    EMAIL,
    PATIENCE_SECONDS,
    PERSON,
    USERNAME,
    Flow,
    Site,
    served,
    spellings,
)


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


FUNCTION = "tegata.find_opaque_token"
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
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(PATIENCE_SECONDS),
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        with served(site, tmp_path_factory.mktemp("traced") / "log", **settings) as server:
            state = f"vendor={new_secret()}"
            flow = Flow(server.address, site, {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": state})
            flow.seen["tracestate"] = state
            flow.run()
            httpx2.get(f"{server.address}/readyz", timeout=PATIENCE_SECONDS, verify=False)
            fail(flow)
            collector.until(lambda spans: any(span.failed and span.kind == "server" for span in spans))
            came = len(collector.spans())
            # What came is counted when its answer has come back.
            counted = server.counted_until(lambda found: found["exported"] >= came)
        return Traced(flow, collector.spans(), b"".join(collector.bodies), server.said(), counted)


def fail(flow: Flow) -> None:
    """Ask for something that the server may not do just now."""
    basic = ("web-of-the-test", flow.site.secrets["CLIENT_SECRET"])
    flow.seen["token of a fault"] = new_secret()
    form = {"token": flow.seen["token of a fault"]}
    flow.site.sql(f"revoke execute on function {FUNCTION} from tegata_app")
    try:
        asked = f"{flow.address}/traced/introspect"
        options: dict[str, Any] = {"headers": flow.headers, "timeout": PATIENCE_SECONDS, "verify": False}
        assert httpx2.post(asked, data=form, auth=basic, **options).status_code == 500
    finally:
        flow.site.sql(f"grant execute on function {FUNCTION} to tegata_app")


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


def test_a_fault_of_ours_is_in_the_trace_by_its_type_and_in_the_log_with_the_trace(traced: Traced) -> None:
    (refused,) = [span for span in traced.spans if "db.response.status_code" in span.attributes]
    (request,) = [span for span in traced.spans if span.span_id == refused.parent_id]
    assert (refused.name, refused.attributes["db.response.status_code"]) == (FUNCTION, "42501")
    assert (refused.failed, request.failed, request.attributes["error.type"]) == (True, True, "500")
    assert b"permission denied" not in traced.bytes
    (line,) = [line for line in traced.log if line["event"] == "unexpected_error"]
    assert (line["trace_id"], line["span_id"]) == (TRACE, request.span_id)


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
            # A worker that is too busy to speak for itself is left out at first.
            counted = server.counted_until(lambda found: found["dropped"] > 20)
            assert server.stop() == 0
        # What was sent is in the socket, also if nobody has come to take it yet.
        deadline = time.monotonic() + PATIENCE_SECONDS
        while collector.requests == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert collector.requests >= 1
    assert counted["exported"] == 0


def test_a_server_without_traces_loads_nothing_of_them_and_sends_nothing(site: Site, tmp_path: Path) -> None:
    with Collector() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "PYTHONPROFILEIMPORTTIME": "1"}
        with served(site, tmp_path / "log", **settings) as server:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            options: dict[str, Any] = {"headers": headers, "timeout": PATIENCE_SECONDS, "verify": False}
            assert httpx2.get(f"{server.address}/traced/jwks", **options).status_code == 200
            assert server.counted() == {}
        assert collector.requests == 0
    said = (tmp_path / "log").read_text()
    assert "tegata.postgres.pool" in said  # modules are told
    assert re.findall(r"\| +(opentelemetry|google\.protobuf|requests)\b", said) == []
