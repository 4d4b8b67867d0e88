"""What can be trusted at all: addresses, algorithms, audiences."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from tegata_verify import Generic, Tegata


@pytest.mark.parametrize(
    "issuer",
    [
        "",
        "demo",
        "id.example/demo",
        "//id.example/demo",
        "https://",
        "https:///demo",
        "ftp://id.example/demo",
        "http://id.example/demo",
        "http://localhost.example/demo",
        "http://10.0.0.1/demo",
        "https://id.example/demo?x=1",
        "https://id.example/demo?",
        "https://id.example/demo#x",
        "https://id.example/demo#",
        "https://user:secret@id.example/demo",
        "https://user@id.example/demo",
        "https://id.example:port/demo",
        "https://id.example/de mo",
        "https://id.example/de\nmo",
        "https://id.exаmple/demo",
        "https://[::1/demo",
    ],
)
def test_an_unsafe_issuer_cannot_be_configured(issuer):
    with pytest.raises(ValueError, match=r".+"):
        Tegata(issuer, ["api"], allow_loopback_http=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9:8080", "localhost:1", "[::1]:8080"])
def test_plain_http_is_for_loopback_and_only_when_asked_for(host):
    with pytest.raises(ValueError, match="https is required"):
        Tegata(f"http://{host}/demo", ["api"])
    assert Tegata(f"http://{host}/demo", ["api"], allow_loopback_http=True).issuer == f"http://{host}/demo"


def test_a_jwks_uri_is_held_to_the_same_rules_but_may_have_a_query():
    assert Generic("https://id.example", ["api"], jwks_uri="https://id.example/keys?v=1").jwks_uri
    with pytest.raises(ValueError, match="jwks_uri"):
        Generic("https://id.example", ["api"], jwks_uri="http://id.example/keys")


@pytest.mark.parametrize("algorithm", ["none", "HS256", "HS384", "HS512", "RS1", "", "es256"])
def test_a_symmetric_or_unknown_algorithm_cannot_be_allowed(algorithm):
    with pytest.raises(ValueError, match="algorithms"):
        Generic("https://id.example", ["api"], algorithms=["ES256", algorithm])


def test_an_empty_list_of_algorithms_does_not_mean_all_of_them():
    with pytest.raises(ValueError, match="algorithms"):
        Generic("https://id.example", ["api"], algorithms=[])


@pytest.mark.parametrize("audiences", [[], [""], ["api", ""], ""])
def test_an_audience_must_be_named(audiences):
    with pytest.raises(ValueError, match="audiences"):
        Generic("https://id.example", audiences)


def test_one_audience_may_be_given_as_text_and_is_not_taken_letter_by_letter():
    assert Tegata("https://id.example/demo", "api").audiences == frozenset({"api"})
    assert Generic("https://id.example/demo", "api", algorithms="ES256").algorithms == frozenset({"ES256"})


@pytest.mark.parametrize("leeway", [-1, 301, float("inf"), float("nan")])
def test_leeway_is_a_few_minutes_at_most(leeway):
    with pytest.raises(ValueError, match="leeway"):
        Generic("https://id.example", ["api"], leeway_seconds=leeway)


@pytest.mark.parametrize(
    ("issuer", "tenant"),
    [
        ("https://id.example/demo", "demo"),
        ("https://id.example/demo/", "demo"),
        ("https://id.example/base/demo", "demo"),
        ("https://demo.example", None),
        ("https://demo.example/", None),
    ],
)
def test_a_tegata_issuer_names_its_tenant(issuer, tenant):
    assert Tegata(issuer, ["api"]).find_tenant({}) == tenant
    assert Generic(issuer, ["api"]).find_tenant({}) is None


@pytest.mark.parametrize("issuer", ["https://id.example/demo", "https://id.example/demo/"])
def test_discovery_is_found_below_the_issuer(issuer):
    assert Tegata(issuer, ["api"]).metadata_url == "https://id.example/demo/.well-known/openid-configuration"


def test_rules_cannot_be_changed_after_they_were_checked():
    rules = Tegata("https://id.example/demo", ["api"])
    with pytest.raises(FrozenInstanceError):
        rules.issuer = "http://mallory.example"  # type: ignore[misc]
