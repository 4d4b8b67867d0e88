"""OpenID Foundation plan Config OP. Every address is http here, because `tegata dev` is on loopback."""

from __future__ import annotations

import base64

from packages.tegata.tests.acceptance.relying_party import RelyingParty


def test_oidcc_discovery_endpoint_verification(web: RelyingParty) -> None:
    """OIDC Discovery §3: the required members, and what the published keys may hold."""
    found = web.metadata
    assert found["issuer"] == web.tenant.issuer
    for name in ("authorization", "token", "userinfo", "end_session", "introspection", "revocation"):
        assert found[f"{name}_endpoint"].startswith(web.tenant.issuer + "/")
    assert set(found["subject_types_supported"]) <= {"public", "pairwise"}
    assert found["subject_types_supported"]
    assert "RS256" in found["id_token_signing_alg_values_supported"]
    assert "code" in found["response_types_supported"]
    assert {"query", "form_post"} <= set(found["response_modes_supported"])
    assert "authorization_code" in found["grant_types_supported"]
    assert "openid" in found["scopes_supported"]
    assert "sub" in found["claims_supported"]
    assert isinstance(found["claims_parameter_supported"], bool)
    # An absent request_uri_parameter_supported means true.
    assert found["request_uri_parameter_supported"] is False
    _check_keys(web)


def _check_keys(web: RelyingParty) -> None:
    keys = web.keys()["keys"]
    assert {key["kty"] for key in keys} >= {"RSA", "EC"}
    assert len({key["kid"] for key in keys}) == len(keys)
    for key in keys:
        assert key["use"] == "sig"
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys()
        if key["kty"] == "RSA":
            assert len(base64.urlsafe_b64decode(key["n"] + "==")) >= 256
