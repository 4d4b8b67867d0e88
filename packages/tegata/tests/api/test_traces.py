"""The span of a request over the real application: what it is called, what it says, and whose word it takes."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from tegata.api.traces import UNTRACED
from tegata.settings import Settings
from tegata.storage.errors import Unavailable
from tegata.testing.memory import MemoryStorage
from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import BASE_URL, Server, serving
from tegata.testing.spans import KeptSpans

pytestmark = pytest.mark.anyio

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PROXIES = Settings.from_environment({"TEGATA_TRUSTED_PROXIES": "192.0.2.64/26"}).trusted_proxies
EVERY_SPAN = {"url.scheme": "https", "server.address": "id.example.com", "server.port": 443}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def asked(server: Server, kept: KeptSpans, method: str, target: str, **options: Any) -> ReadableSpan:
    """Return the span of one request."""
    before = len(kept.ended)
    await server.request(method, target, **options)
    (span,) = kept.ended[before:]
    return span


@pytest.mark.parametrize(
    ("method", "target", "name", "status"),
    [
        ("GET", "/acme/jwks", "GET /{tenant}/jwks", 200),
        ("HEAD", "/acme/jwks", "HEAD /{tenant}/jwks", 200),
        ("POST", "/acme/token", "POST /{tenant}/token", 400),
        ("GET", "/acme/authorize/resume", "GET /{tenant}/authorize/resume", 400),
        ("GET", "/acme/.well-known/openid-configuration", "GET /{tenant}/.well-known/openid-configuration", 200),
        ("GET", "/.well-known/openid-configuration/acme", "GET /.well-known/openid-configuration/{tenant}", 200),
        ("GET", "/static/nothing.css", "GET /static/{file}", 404),
        ("GET", "/acme/nothing-here", "GET", 404),
        ("GET", "/", "GET", 404),
        ("PROPFIND", "/acme/jwks", "HTTP /{tenant}/jwks", 405),
    ],
)
async def test_a_span_is_called_by_its_route_and_never_by_its_path(
    method: str, target: str, name: str, status: int
) -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer) as server:
        span = await asked(server, kept, method, f"{target}?hidden=1")
    said = attributes(span)
    assert (span.name, said["http.response.status_code"]) == (name, status)
    assert said.get("http.route") == (name.partition(" ")[2] or None)
    assert said["http.request.method"] == ("_OTHER" if method == "PROPFIND" else method)
    assert said.items() >= EVERY_SPAN.items()
    assert span.status.status_code is StatusCode.UNSET  # semantic conventions: 4xx is no failure of a server
    assert "hidden" not in span.to_json()
    assert "nothing" not in span.to_json()


@pytest.mark.parametrize("target", sorted(UNTRACED))
async def test_health_checks_and_metrics_are_not_traced(target: str) -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer, metrics_networks=PROXIES) as server:
        await server.request("GET", target)
    assert kept.ended == ()


async def test_what_a_request_calls_the_server_is_not_believed() -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer) as server:
        headers = {"host": "hidden.example", "x-forwarded-host": "hidden.example", "x-forwarded-proto": "hidden"}
        span = await asked(server, kept, "GET", "/acme/jwks", headers=headers)
    assert attributes(span).items() >= EVERY_SPAN.items()
    assert "hidden" not in span.to_json()


async def test_the_tenant_is_told_by_its_id_once_it_has_been_found() -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer) as server:
        found = await asked(server, kept, "GET", "/acme/jwks")
        made_up = await asked(server, kept, "GET", "/made-up/jwks")
        tenant_id = server.tenants["acme"].tenant_id
    assert attributes(found)["tegata.tenant"] == str(tenant_id)
    assert "tegata.tenant" not in attributes(made_up)
    assert "made-up" not in made_up.to_json()


async def test_errors_are_told_in_the_words_of_the_protocol_wherever_they_are_answered() -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer) as server:
        party = RelyingParty(server)
        await party.redeem("made-up")
        answer = party.answer(await Browser(server).get(party.url(prompt="none")))
        await server.request("GET", "/acme/userinfo", headers={"authorization": "Bearer made-up"})
        await server.request("GET", "/acme/authorize?client_id=made-up")
    assert answer["error"] == "login_required"
    told = {span.name: attributes(span).get("tegata.oauth.error") for span in kept.ended if span.parent is None}
    assert told["POST /{tenant}/token"] == "invalid_grant"
    assert told["GET /{tenant}/userinfo"] == "invalid_token"
    of_page = [attributes(span).get("tegata.oauth.error") for span in kept.named("GET /{tenant}/authorize")]
    assert of_page == ["login_required", "invalid_client"]
    assert "made-up" not in "".join(span.to_json() for span in kept.ended)


async def test_a_sign_in_leaves_no_error() -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer) as server:
        await RelyingParty(server).sign_in(Browser(server))
    assert [span.name for span in kept.ended if "tegata.oauth.error" in attributes(span)] == []


class Away:
    """Storage that cannot be reached, or breaks."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self.failure: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            if self.failure is not None:
                raise self.failure
            return await method(*arguments, **named)

        return call


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [(Unavailable("hidden"), "503", "temporarily_unavailable"), (KeyError("hidden"), "500", "server_error")],
)
async def test_a_failure_of_ours_is_one_of_the_span(failure: Exception, status: str, code: str) -> None:
    kept, stores = KeptSpans(), list[Away]()

    def through(storage: MemoryStorage) -> Away:
        stores.append(Away(storage))
        return stores[0]

    async with serving(tracer=kept.tracer, through=through) as server:
        stores[0].failure = failure
        span = await asked(server, kept, "GET", "/made-up/jwks")
        stores[0].failure = None
    said = attributes(span)
    assert (said["error.type"], said["tegata.oauth.error"]) == (status, code)
    assert span.status.status_code is StatusCode.ERROR
    assert "hidden" not in span.to_json()


@pytest.mark.parametrize(
    ("setting", "address", "continued"),
    [
        ("proxy", "192.0.2.65", True),
        ("proxy", "::ffff:192.0.2.65", True),
        ("proxy", "192.0.2.1", False),
        ("link", "192.0.2.65", False),
    ],
)
async def test_a_trace_is_continued_on_the_word_of_a_listed_proxy_alone(
    setting: str, address: str, continued: bool
) -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer, trusted_proxies=PROXIES, traces_parent=setting) as server:
        headers = {"traceparent": TRACEPARENT, "x-forwarded-for": "192.0.2.66"}
        span = await asked(server, kept, "GET", "/acme/jwks", headers=headers, address=address)
    assert (span.parent is not None, len(span.links)) == (continued, 0 if continued else 1)


async def test_a_base_url_with_a_port_is_told_with_it() -> None:
    kept = KeptSpans()
    async with serving(tracer=kept.tracer, base_url=f"{BASE_URL}:8443") as server:
        span = await asked(server, kept, "GET", "/acme/jwks")
    assert attributes(span)["server.port"] == 8443
