"""What the authorization server is sent, and what of its answers is believed."""

from __future__ import annotations

import gzip

import jwt
import pytest
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tegata_verify.client import (
    AuthorizationServer,
    ClientCredentials,
    ClientSecret,
    Obstacle,
    PrivateKeyJwt,
    TokenPolicy,
    TokenUnavailable,
    Wanted,
)

from .conftest import PATIENT

ODD = "a:b c+d%é"
COMPRESSED = gzip.compress(b'{"access_token": "a", "token_type": "Bearer"}', mtime=0)


def test_a_secret_goes_into_the_header_form_encoded(stand_in):
    token = ClientCredentials(stand_in.where, ClientSecret(ODD, ODD), policy=PATIENT).get()
    assert (token.value, token.authorization, token.lifetime_seconds) == ("token-1", "Bearer token-1", 300)
    (request,) = stand_in.asked
    assert request.basic == (ODD, ODD)
    assert request.form == {"grant_type": ["client_credentials"]}


def test_a_secret_goes_into_the_body_where_that_is_wanted(stand_in):
    ClientCredentials(stand_in.where, ClientSecret("me", ODD, in_body=True), policy=PATIENT).get()
    (request,) = stand_in.asked
    assert "authorization" not in request.headers
    assert (request.form["client_id"], request.form["client_secret"]) == (["me"], [ODD])


def test_a_secret_is_read_anew_for_each_request(stand_in):
    secrets = iter(["first", "second"])
    source = ClientCredentials(stand_in.where, ClientSecret("me", lambda: next(secrets)), policy=PATIENT)
    source.rejected(source.get().value)
    source.get()
    assert [request.basic[1] for request in stand_in.asked] == ["first", "second"]


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ECKey.generate_key("P-256", {"kid": "one"}), "ES256"),
        (RSAKey.generate_key(2048), "RS256"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
    ],
    ids=["ES256", "RS256", "EdDSA"],
)
def test_an_assertion_is_good_for_another_library_and_each_is_new(stand_in, key, algorithm):
    source = ClientCredentials(stand_in.where, PrivateKeyJwt("me", lambda: key), policy=PATIENT)
    source.rejected(source.get().value)
    source.get()
    public, seen = jwt.PyJWK(key.as_dict(private=False, alg=algorithm)), []
    for request in stand_in.asked:
        assertion = request.form["client_assertion"][0]
        claims = jwt.decode(assertion, public, algorithms=[algorithm], audience=stand_in.issuer, issuer="me")
        assert (claims["sub"], claims["exp"] - claims["iat"]) == ("me", 60)
        assert request.form["client_assertion_type"] == ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"]
        assert jwt.get_unverified_header(assertion).get("kid") == key.kid
        assert "authorization" not in request.headers
        seen.append(claims["jti"])
    assert len(set(seen)) == 2


@pytest.mark.parametrize("audience", ["issuer", "token_endpoint", "https://elsewhere.example/as"])
def test_an_assertion_names_the_audience_that_is_configured(stand_in, audience):
    ClientCredentials(
        stand_in.where, PrivateKeyJwt("me", ECKey.generate_key("P-256"), audience=audience), policy=PATIENT
    ).get()
    assertion = stand_in.asked[0].form["client_assertion"][0]
    expected = {"issuer": stand_in.issuer, "token_endpoint": f"{stand_in.issuer}/token"}.get(audience, audience)
    assert jwt.decode(assertion, options={"verify_signature": False})["aud"] == expected


def test_scopes_resources_and_audiences_are_asked_for(stand_in):
    wanted = Wanted(["read", "write"], resource=["https://a.example", "https://b.example"], audience="stock")
    stand_in.more = {"scope": "read"}
    token = ClientCredentials(stand_in.where, ClientSecret("me", "s"), wanted, policy=PATIENT).get()
    assert stand_in.asked[0].form == {
        "grant_type": ["client_credentials"],
        "scope": ["read write"],
        "resource": ["https://a.example", "https://b.example"],
        "audience": ["stock"],
    }
    assert token.scopes == {"read"}


def test_a_given_token_endpoint_needs_no_discovery(stand_in):
    server = AuthorizationServer(stand_in.issuer, token_endpoint=f"{stand_in.issuer}/token", allow_loopback_http=True)
    ClientCredentials(server, ClientSecret("me", "s"), policy=PATIENT).get()
    assert [request.path for request in stand_in.heard] == ["/demo/token"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example/demo"},
        {"issuer": None},
        {"token_endpoint": "http://stock.example.com/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": 7},
        {"token_endpoint": None},
    ],
    ids=str,
)
def test_metadata_that_are_wrong_are_not_followed(stand_in, said, metadata):
    stand_in.answers["/demo/.well-known/openid-configuration"] = lambda _: said({**stand_in.metadata(), **metadata})
    with pytest.raises(TokenUnavailable) as raised:
        ClientCredentials(stand_in.where, ClientSecret("me", "s"), policy=PATIENT).get()
    assert raised.value.obstacle is Obstacle.BAD_ANSWER
    assert stand_in.asked == []


@pytest.mark.parametrize("url", ["http://id.example.com/demo", "ftp://id.example.com", "https://u@id.example.com", ""])
def test_plain_http_is_for_loopback_alone_and_only_when_asked_for(url):
    with pytest.raises(ValueError, match="issuer"):
        AuthorizationServer(url, allow_loopback_http=True)
    with pytest.raises(ValueError, match="https is required"):
        AuthorizationServer("http://127.0.0.1:8080/demo")
    with pytest.raises(ValueError, match="token_endpoint"):
        AuthorizationServer("https://id.example.com", token_endpoint="http://id.example.com/token")


@pytest.mark.parametrize(
    ("answer", "obstacle"),
    [
        ({"document": {"error": "invalid_client"}, "status": 401}, Obstacle.REFUSED),
        ({"document": {"error": "invalid_scope"}, "status": 400}, Obstacle.REFUSED),
        ({"body": b"<html>", "status": 400}, Obstacle.BAD_ANSWER),
        ({"status": 429}, Obstacle.THROTTLED),
        ({"status": 503}, Obstacle.UNAVAILABLE),
        ({"body": b"", "status": 500}, Obstacle.UNAVAILABLE),
        ({"body": COMPRESSED, "status": 503, "headers": {"Content-Encoding": "gzip"}}, Obstacle.UNAVAILABLE),
        ({"body": b" " * 70_000, "status": 429}, Obstacle.THROTTLED),
        ({"status": 302, "headers": {"Location": "/demo/elsewhere"}}, Obstacle.BAD_ANSWER),
        ({"body": b"<html>"}, Obstacle.BAD_ANSWER),
        ({"body": b'{"access_token":"a","access_token":"b","token_type":"Bearer"}'}, Obstacle.BAD_ANSWER),
        ({"document": {"token_type": "Bearer"}}, Obstacle.BAD_ANSWER),
        ({"document": {"access_token": "a", "token_type": "mac"}}, Obstacle.BAD_ANSWER),
        ({"document": {"access_token": "a"}}, Obstacle.BAD_ANSWER),
        ({"document": {"access_token": "a\r\nX-Evil: 1", "token_type": "Bearer"}}, Obstacle.BAD_ANSWER),
        ({"document": {"access_token": "a" * 20_000, "token_type": "Bearer"}}, Obstacle.BAD_ANSWER),
        ({"body": b" " * 70_000}, Obstacle.BAD_ANSWER),
        ({"body": COMPRESSED, "headers": {"Content-Encoding": "gzip"}}, Obstacle.BAD_ANSWER),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_is_no_token_is_an_error_that_says_no_secret(stand_in, said, answer, obstacle, caplog):
    caplog.set_level("DEBUG")
    stand_in.answers["/demo/token"] = lambda _: said(**answer)
    source = ClientCredentials(stand_in.where, ClientSecret("me", "very-secret"), policy=PATIENT)
    with pytest.raises(TokenUnavailable) as raised:
        source.get()
    error = raised.value
    assert error.obstacle is obstacle
    assert error.code == (answer.get("document") or {}).get("error")
    assert error.__context__ is None
    said_aloud = f"{caplog.text}{error!r}{error}{source!r}"
    assert "very-secret" not in said_aloud
    assert "elsewhere" not in str([heard.path for heard in stand_in.heard])


def test_a_server_that_is_not_there_is_unavailable(stand_in):
    stand_in.close()
    with pytest.raises(TokenUnavailable) as raised:
        ClientCredentials(stand_in.where, ClientSecret("me", "s"), policy=PATIENT).get()
    assert raised.value.obstacle is Obstacle.UNAVAILABLE


def test_a_server_that_does_not_answer_is_given_up(stand_in):
    stand_in.gate.clear()
    source = ClientCredentials(stand_in.where, ClientSecret("me", "s"), policy=TokenPolicy(timeout=0.2))
    with pytest.raises(TokenUnavailable) as raised:
        source.get()
    assert raised.value.obstacle is Obstacle.TIMEOUT


def test_a_key_that_cannot_be_read_is_a_matter_of_configuration(stand_in, caplog):
    def read() -> ECKey:
        raise RuntimeError("the vault said: very-secret")

    with pytest.raises(TokenUnavailable) as raised:
        ClientCredentials(stand_in.where, PrivateKeyJwt("me", read), policy=PATIENT).get()
    assert raised.value.obstacle is Obstacle.NOT_CONFIGURED
    assert "very-secret" not in f"{raised.value!r}{caplog.text}"
