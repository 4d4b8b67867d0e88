"""Spans by OpenTelemetry's SDK: whose trace they belong to, and what cannot get into them."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.propagators.aws import AwsXRayPropagator
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from tegata.telemetry.spans import FRONT_ROOT, Incoming
from tegata.telemetry.tracing import add_ids
from tegata.testing.spans import KeptSpans

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = (b"traceparent", f"00-{TRACE}-{PARENT}-01".encode())
NOBODY = Incoming((), continued=False)
XRAY = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={PARENT};Sampled=1"
FRONT = f"1-{TRACE[:8]}-{TRACE[8:]}"


def one_request(kept: KeptSpans, *headers: tuple[bytes, bytes], continued: bool = False) -> ReadableSpan:
    before = len(kept.ended)
    with kept.tracer.request("GET /x", {}, Incoming(headers, continued)):
        pass
    assert len(kept.ended) == before + 1
    return kept.ended[-1]


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return format_trace_id(span.context.trace_id)


def test_a_proxy_of_ours_is_believed() -> None:
    span = one_request(KeptSpans(), TRACEPARENT, continued=True)
    assert span.parent is not None
    assert (trace_of(span), format_span_id(span.parent.span_id)) == (TRACE, PARENT)
    assert not span.links


def test_anybody_else_gets_a_trace_of_his_own_that_names_the_other() -> None:
    span = one_request(KeptSpans(), TRACEPARENT)
    assert span.parent is None
    assert trace_of(span) != TRACE
    (link,) = span.links
    assert format_trace_id(link.context.trace_id) == TRACE


@pytest.mark.parametrize("continued", [True, False])
def test_free_text_of_the_other_trace_is_dropped(continued: bool) -> None:
    more = ((b"tracestate", b"vendor=hidden"), (b"baggage", b"user=hidden"))
    span = one_request(KeptSpans(), TRACEPARENT, *more, continued=continued)
    assert "hidden" not in span.to_json()
    assert span.context is not None
    assert not span.context.trace_state


def test_somebody_elses_flag_hides_nothing_unless_he_is_believed() -> None:
    kept = KeptSpans()
    unwanted = (b"traceparent", f"00-{TRACE}-{PARENT}-00".encode())
    assert one_request(kept, unwanted).parent is None
    decided = KeptSpans(sampler=ParentBased(ALWAYS_OFF))
    with decided.tracer.request("GET /x", {}, Incoming((TRACEPARENT,), continued=False)):
        pass
    assert decided.ended == ()
    assert one_request(decided, TRACEPARENT, continued=True)


@pytest.mark.parametrize(
    "value",
    [b"", b"00", b"\xff" * 55, f"ff-{TRACE}-{PARENT}-01".encode(), f"00-{'0' * 32}-{PARENT}-01".encode(), b"0" * 5000],
    ids=["empty", "short", "not ASCII", "forbidden version", "no trace", "endless"],
)
def test_what_is_no_trace_is_no_trace(value: bytes) -> None:
    span = one_request(KeptSpans(), (b"traceparent", value), continued=True)
    assert (span.parent, span.links) == (None, ())


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"traceparent", b"tracestate", b"x-amzn-trace-id", b"baggage"]),
            st.binary(max_size=80)
            | st.from_regex(rb"Root=1-[0-9a-f_+-]{8}-[0-9a-f ]{24};Parent=[0-9a-f_-]{16};Sampled=.", fullmatch=True)
            | st.from_regex(rb"0[0-9f]-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", fullmatch=True),
        ),
        max_size=4,
    ),
    st.booleans(),
)
def test_no_header_breaks_a_request(headers: list[tuple[bytes, bytes]], continued: bool) -> None:
    one_request(KeptSpans(AwsXRayPropagator()), *headers, continued=continued)


def test_xray_header_with_a_parent_is_continued_where_it_is_asked_for() -> None:
    header = (b"x-amzn-trace-id", XRAY.encode())
    span = one_request(KeptSpans(AwsXRayPropagator()), header, continued=True)
    assert span.parent is not None
    assert (trace_of(span), format_span_id(span.parent.span_id)) == (TRACE, PARENT)
    assert trace_of(one_request(KeptSpans(), header, continued=True)) != TRACE


@pytest.mark.parametrize(
    ("value", "root"),
    [
        (f"Root={FRONT}", FRONT),
        (f"Self=1-67891234-12456789abcdef012345678;Root={FRONT}", FRONT),
        (f"Root={FRONT}; Lineage=a:1", FRONT),
        (f"Root={FRONT}x", None),
        ("Root=1-secret-secret", None),
        (f"Root={FRONT};" + "Lineage=a:1;" * 100, None),
        (f"Root={FRONT.upper().replace('1', 'A')}", None),
    ],
)
def test_root_of_a_load_balancer_is_told_if_it_is_one(value: str, root: str | None) -> None:
    header = (b"x-amzn-trace-id", value.encode())
    said = one_request(KeptSpans(AwsXRayPropagator()), header).attributes
    assert (said or {}).get(FRONT_ROOT) == root
    assert FRONT_ROOT not in (one_request(KeptSpans(), header).attributes or {})


def test_a_question_and_a_piece_of_work_are_below_the_request() -> None:
    kept = KeptSpans()
    with kept.tracer.request("GET /x", {}, NOBODY):
        with kept.tracer.call("SELECT", {"db.system.name": "postgresql"}) as asked:
            asked.set("rows", 1)
        with kept.tracer.work("password check"):
            pass
    asked_for, work, request = kept.ended
    assert request.context is not None
    assert {span.parent.span_id for span in (asked_for, work) if span.parent} == {request.context.span_id}
    assert [span.kind for span in (asked_for, work, request)] == [SpanKind.CLIENT, SpanKind.INTERNAL, SpanKind.SERVER]
    assert dict(asked_for.attributes or {}) == {"db.system.name": "postgresql", "rows": 1}


def test_without_a_request_nothing_is_made() -> None:
    kept = KeptSpans()
    with kept.tracer.call("SELECT", {}) as span:
        span.set("rows", 1)
        span.fail("Late")
    with kept.tracer.work("password check"):
        pass
    assert kept.ended == ()


def test_below_a_request_that_is_not_kept_nothing_is_made() -> None:
    kept = KeptSpans(sampler=ALWAYS_OFF)
    with kept.tracer.request("GET /x", {}, NOBODY), kept.tracer.call("SELECT", {}):
        line = dict(add_ids(None, "", {"event": "x"}))
    assert kept.ended == ()
    assert len(line["trace_id"]) == 32


@pytest.mark.anyio
async def test_requests_at_the_same_time_do_not_mix() -> None:
    kept = KeptSpans()

    async def answer(name: str) -> None:
        with kept.tracer.request(name, {}, NOBODY):
            await asyncio.sleep(0)
            with kept.tracer.call(f"of {name}", {}):
                await asyncio.sleep(0)

    await asyncio.gather(*(answer(str(number)) for number in range(10)))
    for number in range(10):
        (request,), (asked,) = kept.named(str(number)), kept.named(f"of {number}")
        assert trace_of(request) == trace_of(asked)


def test_an_exception_leaves_its_type_and_no_word() -> None:
    kept = KeptSpans()
    with pytest.raises(ValueError), kept.tracer.request("GET /x", {}, NOBODY), kept.tracer.call("SELECT", {}):  # noqa: PT011
        raise ValueError("hidden")
    for span in kept.ended:
        assert span.status.status_code is StatusCode.ERROR
        assert dict(span.attributes or {}) == {"error.type": "ValueError"}
        assert (span.events, span.status.description) == ((), None)
        assert "hidden" not in span.to_json()


def test_lines_of_the_log_have_the_ids_of_the_span_that_is_active_and_none_elsewhere() -> None:
    kept = KeptSpans()
    with kept.tracer.request("GET /x", {}, NOBODY):
        line = add_ids(None, "", {"event": "x"})
    assert add_ids(None, "", {"event": "x"}) == {"event": "x"}
    (span,) = kept.ended
    assert span.context is not None
    assert line == {"event": "x", "trace_id": trace_of(span), "span_id": format_span_id(span.context.span_id)}
