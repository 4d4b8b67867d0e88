"""Client secrets: two may live at once, and an ended one is none (RFC 6749 §2.3.1, pitfalls P63)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.crypto.digests import digest_of
from tegata.protocol.client import Client, ClientMetadata, ClientSecret
from tegata.protocol.client_authentication.secret import check_secret
from tegata.protocol.errors import OAuthError

CLIENT = Client(
    "web", ClientMetadata(), secrets=(ClientSecret(digest_of("old"), expires_at=100.0), ClientSecret(digest_of("new")))
)


@pytest.mark.parametrize(("secret", "now"), [("old", 99.9), ("new", 99.9), ("new", 1e12)])
def test_a_living_secret_is_taken(secret: str, now: float) -> None:
    check_secret(CLIENT, secret, now=now)


@pytest.mark.parametrize(("secret", "now"), [("old", 100.0), ("old", 200.0), ("NEW", 1.0), ("", 1.0), (None, 1.0)])
def test_any_other_is_refused(secret: str | None, now: float) -> None:
    with pytest.raises(OAuthError) as refused:
        check_secret(CLIENT, secret, now=now)
    assert (refused.value.code, refused.value.reason) == ("invalid_client", "client_secret")


@given(st.none() | st.text())
def test_a_client_without_secrets_cannot_be_authenticated_by_one(secret: str | None) -> None:
    with pytest.raises(OAuthError):
        check_secret(Client("web", ClientMetadata()), secret, now=1.0)


def test_digests_stay_out_of_the_representation() -> None:
    assert "digest" not in repr(CLIENT)
