"""One spelling for an address (RFC 3986 §6.2.2, §6.2.3)."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tegata_verify.target_uri import encode_path, find_path, normalize

# A busy machine must not fail this: without it an example may take a fifth of a second.
relaxed = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    ("uri", "normal"),
    [
        ("https://a.example", "https://a.example/"),
        ("HTTPS://A.Example:443/x?y#z", "https://a.example/x"),
        ("http://a.example:80/x", "http://a.example/x"),
        ("https://a.example:/x", "https://a.example/x"),
        ("https://a.example:8443/x", "https://a.example:8443/x"),
        ("https://a.example/%62eers", "https://a.example/beers"),
        ("https://a.example/a%2fb", "https://a.example/a%2Fb"),
        ("https://a.example/a/./b/../c", "https://a.example/a/c"),
        ("https://a.example/a/%2e%2E/c", "https://a.example/c"),
        ("https://a.example/a//b", "https://a.example/a//b"),
        ("https://a.example/a/..", "https://a.example/"),
        ("https://[2001:DB8::1]:443/x", "https://[2001:db8::1]/x"),
    ],
)
def test_an_address_has_one_normal_form(uri, normal):
    assert normalize(uri) == normal
    assert normalize(normal) == normal


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "/beers",
        "ftp://a.example/",
        "https:a.example/",
        "https://user@a.example/",
        "https://a.example\\@b.example/",
        "https://a.example/%",
        "https://a.example/%zz",
        "https://a.example/a b",
        "https://a.example/ä",
        "https:///x",
        "https://a.example:x/",
        "https://a.example:1:2/",
        "https://a.example/\n",
        "https://a.example/" + "a" * 9000,
    ],
)
def test_what_is_no_address_is_refused(uri):
    with pytest.raises(ValueError, match=r"."):
        normalize(uri)


@given(st.text(max_size=60))
@relaxed
def test_any_text_is_refused_or_has_a_stable_normal_form(text):
    try:
        normal = normalize("https://a.example/" + text)
    except ValueError:
        return
    assert normalize(normal) == normal
    assert normal.startswith("https://a.example/")


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/beers?x", "/beers"),
        (b"http://evil.example/beers", "/beers"),
        (b".evil.example/beers", None),
        (b"*", None),
        (b"", None),
        (b"/\xff", "/%FF"),
    ],
)
def test_the_path_is_what_was_sent(raw, path):
    assert find_path("https://x/admin/beers", raw) == path


def test_a_decoded_path_keeps_its_question_mark():
    assert encode_path("/a?b#c") == "/a%3Fb%23c"
