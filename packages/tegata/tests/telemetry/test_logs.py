"""Logs: whatever is written into them, secrets do not come out (ARCHITECTURE §4, invariant 3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.telemetry import logs

# Three random-looking parts; nobody signed it.
JWT = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkIn0.c2lnbmF0dXJlLXBhcnQ"


def redacted(**event: Any) -> dict[str, Any]:
    return dict(logs.redact(None, "info", dict(event)))


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "Password",
        "new_password",
        "password_hash",
        "passwd",
        "client_secret",
        "secret",
        "clientSecret",
        "secret_value",
        "token",
        "access_token",
        "refreshToken",
        "tokens",
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "cookies",
        "client_assertion",
        "code",
        "authorization_code",
        "code_verifier",
        "private_key",
        "private",
        "master_key",
        "signing_key",
        "api_key",
        "csrf",
        "csrf_token",
        "otp",
    ],
)
def test_a_value_with_a_secrets_name_is_not_told(name: str) -> None:
    for value in ("hush", b"hush", ["hush"], {"a": "hush"}, 4711):
        assert redacted(**{name: value}) == {name: "[redacted]"}
        assert redacted(outer={name: value}) == {"outer": {name: "[redacted]"}}


@pytest.mark.parametrize(
    "name", ["event", "reason", "kid", "key", "status_code", "sqlstate", "client_id", "token_endpoint", "token_type"]
)
def test_what_is_no_secret_is_told(name: str) -> None:
    assert redacted(**{name: "told"}) == {name: "told"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(f"bad token {JWT}!", "bad token [redacted]!", id="a JWT"),
        pytest.param(f"{JWT[:-19]}", "[redacted]", id="a JWT without its signature"),
        pytest.param("postgresql://u:hush@db/t", "postgresql://u:[redacted]@db/t", id="a password in a URL"),
        pytest.param("postgresql://u:hu@sh@db/t", "postgresql://u:[redacted]@db/t", id="a password with an at sign"),
        pytest.param("redis://:hush@cache", "redis://:[redacted]@cache", id="a password without a user"),
        pytest.param("host=db password=hush user=u", "host=db password=[redacted] user=u", id="a password of libpq"),
        pytest.param("host=db password='hu sh' user=u", "host=db password=[redacted] user=u", id="a quoted one"),
        pytest.param("/cb?code=hush&state=s", "/cb?code=[redacted]&state=s", id="a code in an address"),
        pytest.param("a=1&refresh_token=hush", "a=1&refresh_token=[redacted]", id="a token in a form"),
        pytest.param('{"client_secret": "hush", "a": 1}', '{"client_secret": "[redacted]", "a": 1}', id="JSON"),
        pytest.param("Authorization: Bearer hush4711", "Authorization: Bearer [redacted]", id="a bearer token"),
        pytest.param("basic aHVzaDpodXNo", "basic [redacted]", id="basic credentials"),
    ],
)
def test_a_secret_inside_a_text_is_not_told(text: str, told: str) -> None:
    assert redacted(event=text)["event"] == told
    assert redacted(error=RuntimeError(text))["error"].count("hush") == 0


@pytest.mark.parametrize(
    "text",
    [
        "https://id.example:8443/t/token",
        "mailto:taro@example.com",
        "basic authentication is not used by this client",
        "code_challenge_method must be S256",
        "exit code: 1",
        "the password is wrong",
        "token: expired",
        "eyJ is how a JWT begins",
    ],
)
def test_an_ordinary_text_is_told(text: str) -> None:
    assert redacted(event=text) == {"event": text}


def test_it_looks_into_everything_that_holds_something() -> None:
    event = {
        "a": [{"b": (JWT, {"password": 1})}],
        "c": {JWT},
        "d": JWT.encode(),
        "e": ValueError(JWT),
        "f": None,
        "g": 1.5,
    }
    told = redacted(**event)
    assert JWT not in repr(told)
    assert told["a"] == [{"b": ["[redacted]", {"password": "[redacted]"}]}]
    assert (told["f"], told["g"]) == (None, 1.5)


def test_it_does_not_follow_a_circle_for_ever() -> None:
    circle: list[Any] = [JWT]
    circle.append(circle)
    assert JWT not in repr(redacted(a=circle))


secret = st.text(st.sampled_from("abcXYZ019-_"), min_size=12)


@given(
    st.recursive(
        st.just("leaf"),
        lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(st.just("inner"), inner, min_size=1),
        max_leaves=6,
    ),
    secret,
)
@example("leaf", "x" * 20)
def test_a_named_secret_is_found_at_any_depth(shape: Any, value: str) -> None:
    def filled(part: Any) -> Any:
        if isinstance(part, list):
            return [filled(item) for item in part]
        if isinstance(part, dict):
            return {name: filled(item) for name, item in part.items()}
        return {"client_secret": value, "text": f"password={value}"}

    assert value not in repr(redacted(a=filled(shape)))


@given(st.text(), st.text())
def test_any_event_is_told_somehow(name: str, value: str) -> None:
    json.dumps(redacted(**{name: value}))


@pytest.fixture
def reset() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("reset")
@pytest.mark.parametrize("form", ["json", "console"])
def test_a_configured_logger_redacts_its_lines_and_their_stack(form: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level="info", form=form)
    log = structlog.get_logger("test")
    log.debug("not told")
    try:
        raise ValueError(f"could not connect to postgresql://u:hush@db with {JWT}")
    except ValueError:
        log.exception("failed", cookie="hush", details={"password": "hush"})
    lines = capsys.readouterr().out
    assert "hush" not in lines
    assert JWT not in lines
    assert "not told" not in lines
    assert "ValueError" in lines
    if form == "json":
        assert json.loads(lines)["level"] == "error"
