"""Server metadata: the one builder behind every well-known document (RFC 8414 §2, OIDC Discovery §3).

It lists what is switched on and has a behaviour test, nothing else (pitfalls P33, P36).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tegata.protocol import authorization_request, pkce
from tegata.protocol.claims import STANDARD_CLAIMS
from tegata.protocol.client_authentication import assertion
from tegata.protocol.interaction import ACR_VALUES
from tegata.protocol.policy import Tenant
from tegata.protocol.scopes import OPENID_SCOPES

_CONFIDENTIAL_METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")
UI_LOCALES = ("en", "ja")


def build(tenant: Tenant, key_algorithms: Sequence[str]) -> dict[str, Any]:
    """Return the metadata of one tenant. `key_algorithms`: those the tenant has an active key for."""
    issuer = tenant.issuer
    algorithms = sorted(set(key_algorithms), reverse=True)
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "introspection_endpoint": f"{issuer}/introspect",
        "revocation_endpoint": f"{issuer}/revoke",
        "end_session_endpoint": f"{issuer}/end_session",
        "scopes_supported": [*OPENID_SCOPES, *(scope.name for scope in tenant.policy.scopes)],
        "response_types_supported": ["code"],
        "response_modes_supported": list(authorization_request.RESPONSE_MODES),
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "subject_types_supported": ["public", "pairwise"],
        "id_token_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": [*_CONFIDENTIAL_METHODS, "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(assertion.ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": list(_CONFIDENTIAL_METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(assertion.ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": [*_CONFIDENTIAL_METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(assertion.ALGORITHMS),
        "code_challenge_methods_supported": list(pkce.METHODS),
        "acr_values_supported": list(ACR_VALUES),
        "display_values_supported": list(authorization_request.DISPLAYS),
        "prompt_values_supported": list(authorization_request.PROMPTS),
        "claim_types_supported": ["normal"],
        "claims_supported": ["sub", "iss", "auth_time", "acr", "amr", "sid", *STANDARD_CLAIMS],
        "claims_parameter_supported": True,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
        "ui_locales_supported": list(UI_LOCALES),
    }
