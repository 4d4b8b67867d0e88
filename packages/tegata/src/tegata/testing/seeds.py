"""The clients that both tenants of `tegata.testing.server` have: one of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tegata.protocol.client import ClientMetadata, GrantType

_CODE_AND_REFRESH: tuple[GrantType, ...] = ("authorization_code", "refresh_token")


def seeded_clients(jwks: Mapping[str, Any], callback: str, signed_out: str) -> dict[str, ClientMetadata]:
    """Return a client of each kind by its identifier; `jwks` are the public keys of `jwt`."""
    web = ClientMetadata(
        client_name="Order desk",
        redirect_uris=(callback,),
        post_logout_redirect_uris=(signed_out,),
        grant_types=_CODE_AND_REFRESH,
    )
    return {
        "web": web,
        "shop": replace(web, client_name="Shop"),
        "post": replace(web, token_endpoint_auth_method="client_secret_post"),
        "jwt": replace(web, token_endpoint_auth_method="private_key_jwt", jwks=jwks),
        "spa": replace(web, token_endpoint_auth_method="none"),
        "own": replace(web, consent="implicit"),
        "opaque": replace(web, consent="implicit", access_token_format="opaque"),
        "pairwise": replace(web, consent="implicit", subject_type="pairwise"),
        "legacy": replace(web, consent="implicit", profile="oidc-legacy", require_pkce=False),
        "service": ClientMetadata(grant_types=("client_credentials",), response_types=(), scope="read write"),
        "closed": replace(web, disabled=True),
    }
