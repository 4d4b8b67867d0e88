"""The client credentials grant is for clients with credentials (RFC 6749 §4.4)."""

from __future__ import annotations

import pytest

from tegata.protocol.client import AuthMethod, Client, ClientMetadata
from tegata.protocol.errors import OAuthError
from tegata.protocol.grants.client_credentials import check_client


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
def test_a_confidential_client_may(method: AuthMethod) -> None:
    check_client(Client("service", ClientMetadata(token_endpoint_auth_method=method)))


def test_a_public_client_may_not() -> None:
    with pytest.raises(OAuthError) as refused:
        check_client(Client("spa", ClientMetadata(token_endpoint_auth_method="none")))
    assert (refused.value.code, refused.value.reason) == ("unauthorized_client", "public_client")
