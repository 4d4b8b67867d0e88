"""Redirect URIs: what may be registered, and that nothing but the registered text is ever used (RFC 9700 §2.1)."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.protocol.errors import Refused
from tegata.protocol.redirect_uris import choose, is_loopback, problem_with

from .outcome import outcome_of

GOOD = "https://rp.example/cb"


@pytest.mark.parametrize(
    "uri",
    [
        GOOD,
        "https://rp.example:8443/cb?tenant=a&x=%20y",
        "https://rp.example",
        "https://[2001:db8::1]/cb",
        "com.example.app:/callback",
        "com.example.app://callback",
    ],
)
def test_these_may_be_registered(uri: str) -> None:
    assert problem_with(uri, allow_loopback_http=False) is None


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9000/cb", "http://localhost/cb", "http://[::1]:1/cb", "http://127.9.9.9/"]
)
def test_http_on_loopback_needs_the_setting(uri: str) -> None:
    assert problem_with(uri, allow_loopback_http=True) is None
    assert problem_with(uri, allow_loopback_http=False) is not None


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/cb",
        "//rp.example/cb",
        "rp.example/cb",
        "https:",
        "https:rp.example",
        "https:///cb",
        "https://",
        "https://:443/cb",
        "https://rp.example/cb#",
        "https://rp.example/cb#fragment",
        "https://user@rp.example/cb",
        "https://user:pw@rp.example/cb",
        "https://@rp.example/cb",
        "https://rp.example\\@evil.example/cb",
        "https:\\\\rp.example/cb",
        "https://rp.example/c b",
        " https://rp.example/cb",
        "https://rp.example/cb ",
        "https://rp.example/\tcb",
        "https://rp.example/cb\r\nLocation: x",
        "https://rp.example/\x00",
        "https://rp.exämple/cb",
        "https://rp\u3002example/cb",
        "https://rp.example\u2044cb",
        "https://[::1/cb",
        "https://[nonsense]/cb",
        "https://rp.example:99999/cb",
        "https://rp.example:port/cb",
        "https://rp.example/<script>",
        'https://rp.example/"',
        "https://rp.example/{tenant}",
        "http://rp.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost.evil.example/cb",
        "http://localhost./cb",
        "http://127.1/cb",
        "http://2130706433/cb",
        "http://0.0.0.0/cb",
        "http://[::]/cb",
        "http://user@localhost/cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)//.",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://rp.example/x",
        "about:blank",
        "view-source:https://rp.example",
        "ws://rp.example",
        "myapp:/cb",
        "urn:ietf:wg:oauth:2.0:oob",
    ],
)
def test_these_may_never_be_registered(uri: str) -> None:
    assert problem_with(uri, allow_loopback_http=True) is not None


@given(st.text(), st.booleans())
def test_any_text_has_a_problem_or_is_an_absolute_uri(uri: str, allow: bool) -> None:
    if problem_with(uri, allow_loopback_http=allow) is None:
        assert urlsplit(uri).scheme
        assert uri.isascii()
        assert "#" not in uri


@given(
    st.sampled_from(["https", "http", "HTTPS", "com.example.app", "javascript", "data"]),
    st.text(st.characters(max_codepoint=127), max_size=30),
)
def test_any_text_behind_a_scheme_has_a_problem_or_a_safe_scheme(scheme: str, rest: str) -> None:
    if problem_with(f"{scheme}:{rest}", allow_loopback_http=True) is None:
        parts = urlsplit(f"{scheme}:{rest}")
        assert parts.scheme in {"https", "http"} or "." in parts.scheme
        assert parts.scheme != "http" or is_loopback(parts.hostname or "")
        assert "@" not in parts.netloc or parts.scheme not in {"https", "http"}


@pytest.mark.parametrize(
    "sent",
    [
        "https://rp.example/cb/",
        "https://rp.example/cb?",
        "https://rp.example/cb?x=1",
        "https://rp.example/CB",
        "https://rp.example/cb/../cb",
        "https://rp.example/./cb",
        "https://rp.example/%63b",
        "https://rp.example/cb%00",
        "https://rp.example/cb%20",
        "https://rp.example:443/cb",
        "https://RP.example/cb",
        "HTTPS://rp.example/cb",
        "http://rp.example/cb",
        "https://rp.example./cb",
        "https://evil.example/https://rp.example/cb",
        "https://rp.example@evil.example/cb",
        "https://rp.example\\@evil.example/cb",
        "https://rp.example/cb#",
        "https://rp.example/cb#x",
        "https://sub.rp.example/cb",
        "https://rp.example.evil.example/cb",
        "https://*/cb",
        "javascript:alert(1)",
        "",
        " https://rp.example/cb",
        "https://rp.example/cb\n",
        "https://rp.ex\u0430mple/cb",
        "https://ｒｐ.example/cb",
    ],
)
def test_what_is_not_character_by_character_the_registered_one_is_refused(sent: str) -> None:
    with pytest.raises(Refused) as refused:
        choose(sent, [GOOD, "https://rp.example/other"], must_be_sent=True, allow_loopback_http=True)
    assert refused.value.reason == "redirect_uri_not_registered"


@given(st.text(), st.lists(st.text(), max_size=3))
def test_what_is_chosen_is_registered_and_sound(sent: str, registered: list[str]) -> None:
    chosen = outcome_of(lambda: choose(sent, [*registered, GOOD], must_be_sent=False, allow_loopback_http=True))
    if isinstance(chosen, str):
        assert chosen == sent
        assert problem_with(chosen, allow_loopback_http=True) is None


def test_a_star_in_a_registered_uri_stands_for_itself() -> None:
    with pytest.raises(Refused):
        choose("https://a.rp.example/cb", ["https://*.rp.example/cb"], must_be_sent=True, allow_loopback_http=True)


def test_the_only_registered_uri_serves_where_none_has_to_be_sent() -> None:
    assert choose(None, [GOOD], must_be_sent=False, allow_loopback_http=False) == GOOD


@pytest.mark.parametrize(
    ("registered", "must_be_sent"),
    [
        pytest.param([GOOD], True, id="OpenID Connect"),
        pytest.param([GOOD, GOOD + "2"], False, id="two registered"),
        pytest.param([], False, id="none registered"),
    ],
)
def test_a_missing_redirect_uri_is_refused(registered: list[str], must_be_sent: bool) -> None:
    with pytest.raises(Refused) as refused:
        choose(None, registered, must_be_sent=must_be_sent, allow_loopback_http=True)
    assert refused.value.reason == "redirect_uri_missing"


@pytest.mark.parametrize("uri", ["http://localhost:9000/cb", "javascript:alert(1)", "http://rp.example/cb"])
def test_production_sends_no_answer_to_what_was_registered_under_other_settings(uri: str) -> None:
    for sent in (uri, None):
        with pytest.raises(Refused) as refused:
            choose(sent, [uri], must_be_sent=False, allow_loopback_http=False)
        assert refused.value.reason == "redirect_uri_not_allowed"
