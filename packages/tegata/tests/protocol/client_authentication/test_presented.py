"""Credentials of a client: exactly one kind, decoded as RFC 6749 §2.3.1 says."""

from __future__ import annotations

import base64
from urllib.parse import quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tegata.protocol.client import AuthMethod, Client, ClientMetadata
from tegata.protocol.client_authentication import presented
from tegata.protocol.client_authentication.presented import ASSERTION_TYPE, PresentedCredentials
from tegata.protocol.errors import OAuthError
from tegata.protocol.parameters import Parameters

from ..outcome import outcome_of  # noqa: TID252 - tests are no installed package

printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30)


def basic(client_id: str, secret: str) -> str:
    joined = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return "Basic " + base64.b64encode(joined.encode()).decode()


def encoded(raw: bytes) -> str:
    return "Basic " + base64.b64encode(raw).decode()


def read(authorization: str | None = None, **sent: str) -> PresentedCredentials:
    return presented.read(authorization, Parameters(sent.items()))


def refusal(authorization: str | None = None, **sent: str) -> tuple[str, str]:
    with pytest.raises(OAuthError) as refused:
        read(authorization, **sent)
    return refused.value.code, refused.value.reason


def test_the_example_of_rfc_6749_is_read() -> None:
    """§2.3.1."""
    found = read("Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3")
    assert found == PresentedCredentials("client_secret_basic", "s6BhdRkqt3", secret="7Fjfp0ZBr1KtDRbnfVdmIw")


@pytest.mark.parametrize(
    ("client_id", "secret"),
    [
        ("a:b", "c:d"),
        ("a b", "c+d"),
        ("100%", "%41"),
        ("https://rp.example/client?x=1&y", "p@ss/w=rd&"),
        ("クライアント", "秘密"),
    ],
)
def test_both_halves_are_form_encoded_before_they_are_joined(client_id: str, secret: str) -> None:
    assert read(basic(client_id, secret)) == PresentedCredentials("client_secret_basic", client_id, secret=secret)


@given(printable, st.text(max_size=30))
def test_any_client_and_secret_survive_the_header(client_id: str, secret: str) -> None:
    found = read(basic(client_id, secret))
    assert (found.method, found.client_id, found.secret) == ("client_secret_basic", client_id, secret)


@given(st.text() | st.binary().map(encoded))
@example("Basic ")
@example("Basic =")
@example("Basic YTpi\x00")
@example(encoded(b"%ff:x"))
@example(encoded(b"\xff:x"))
def test_any_header_is_read_or_refused(header: str) -> None:
    found = outcome_of(lambda: read(header))
    if isinstance(found, PresentedCredentials):
        assert found.method == "client_secret_basic"
        assert found.client_id
        assert found.client_id.isprintable()
    else:
        assert (found.code, found.reason) == ("invalid_client", "authorization_header")


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param("Basic", id="the scheme alone"),
        pytest.param("Basic !!!", id="no base64"),
        pytest.param("Basic YTpi YTpi", id="two of them"),
        pytest.param(encoded(b"no colon"), id="no colon"),
        pytest.param(encoded(b":secret"), id="no client"),
        pytest.param(encoded(b"a%00b:secret"), id="NUL in the client"),
        pytest.param(encoded(b"a%0ab:secret"), id="line feed in the client"),
        pytest.param(encoded(b"%ff:secret"), id="no UTF-8 under the encoding"),
        pytest.param(encoded(b"\xe9:secret"), id="Latin-1"),
        pytest.param("Bearer abc", id="a bearer token"),
        pytest.param(encoded(b"a:" + b"x" * 3000), id="too long"),
    ],
)
def test_a_header_is_refused(header: str) -> None:
    assert refusal(header) == ("invalid_client", "authorization_header")


def test_every_other_kind_is_read() -> None:
    assert read(client_id="web") == PresentedCredentials("none", "web")
    assert read(client_id="web", client_secret="s") == PresentedCredentials("client_secret_post", "web", secret="s")
    assertion = {"client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE}
    assert read(**assertion) == PresentedCredentials("private_key_jwt", None, assertion="a.b.c")
    assert read(client_id="web", **assertion).client_id == "web"
    assert read(basic("web", "s"), client_id="web").client_id == "web"
    assert read("basic czpz").client_id == "s"


@pytest.mark.parametrize(
    ("authorization", "sent", "refusal_"),
    [
        pytest.param(None, {}, ("invalid_client", "client_authentication_missing"), id="nothing"),
        pytest.param(
            None, {"client_secret": "s"}, ("invalid_client", "client_authentication_missing"), id="secret alone"
        ),
        pytest.param(
            basic("web", "s"),
            {"client_secret": "s"},
            ("invalid_request", "client_authentication_mixed"),
            id="two secrets",
        ),
        pytest.param(
            basic("web", "s"),
            {"client_assertion": "a.b.c", "client_assertion_type": ASSERTION_TYPE},
            ("invalid_request", "client_authentication_mixed"),
            id="secret and assertion",
        ),
        pytest.param(
            None,
            {
                "client_id": "web",
                "client_secret": "s",
                "client_assertion": "a",
                "client_assertion_type": ASSERTION_TYPE,
            },
            ("invalid_request", "client_authentication_mixed"),
            id="secret and assertion in the body",
        ),
        pytest.param(
            basic("web", "s"), {"client_id": "other"}, ("invalid_request", "client_id_mismatch"), id="another client_id"
        ),
        pytest.param(None, {"client_assertion": "a.b.c"}, ("invalid_client", "assertion_type"), id="no assertion type"),
        pytest.param(
            None,
            {
                "client_assertion": "x",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
            },
            ("invalid_client", "assertion_type"),
            id="SAML",
        ),
    ],
)
def test_a_request_is_refused(authorization: str | None, sent: dict[str, str], refusal_: tuple[str, str]) -> None:
    assert refusal(authorization, **sent) == refusal_


METHODS: list[AuthMethod] = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]


@pytest.mark.parametrize("registered", METHODS)
@pytest.mark.parametrize("used", METHODS)
def test_a_client_uses_the_method_it_registered_and_no_other(registered: AuthMethod, used: AuthMethod) -> None:
    client = Client("web", ClientMetadata(token_endpoint_auth_method=registered))
    found = outcome_of(lambda: presented.check_method(client, PresentedCredentials(used, "web")))
    assert found is client if registered == used else getattr(found, "reason", "") == "client_authentication_method"


def test_the_client_is_not_told_whether_it_exists() -> None:
    """RFC 6749 §5.2."""
    disabled = Client("web", ClientMetadata(disabled=True))
    other = Client("web", ClientMetadata(token_endpoint_auth_method="none"))
    used = PresentedCredentials("client_secret_basic", "web")
    told = set()
    for client, reason in (
        (None, "client_unknown"),
        (disabled, "client_disabled"),
        (other, "client_authentication_method"),
    ):
        with pytest.raises(OAuthError) as refused:
            presented.check_method(client, used)
        assert refused.value.reason == reason
        told.add((refused.value.code, refused.value.description, refused.value.status))
    assert told == {("invalid_client", "client authentication failed", 401)}


def test_secrets_stay_out_of_the_representation() -> None:
    assert "hush" not in repr(read(basic("web", "hush")))
    assert "hush" not in repr(read(client_assertion="hush", client_assertion_type=ASSERTION_TYPE))
