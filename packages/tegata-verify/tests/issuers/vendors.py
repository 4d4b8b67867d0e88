"""Tokens, keys and discovery documents in the shape in which each issuer's documentation shows them.

Identifiers are made up in the documented form; signing keys are made when a test first needs them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx2
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from tegata_verify import Auth0, CachePolicy, Cognito, EntraId, Generic, Keycloak, Tegata, Verifier
from tegata_verify.tokens import SignatureRegistry

NOW = 1_760_000_000
_SOON = {"iat": NOW - 60, "exp": NOW + 3540}


@cache
def signing_key(name: str, algorithm: str = "RS256") -> RSAKey | ECKey:
    return ECKey.generate_key("P-256") if algorithm == "ES256" else RSAKey.generate_key(2048)


def public_key(name: str, algorithm: str = "RS256", **members: Any) -> dict[str, Any]:
    return {**signing_key(name, algorithm).as_dict(private=False), "use": "sig", **members}


@dataclass(frozen=True)
class Vendor:
    """One issuer, the rules for it, and what it sends: `access` and `id` are header and claims."""

    name: str
    rules: Generic
    access: tuple[dict[str, Any], dict[str, Any]]
    id: tuple[dict[str, Any], dict[str, Any]]
    documents: Mapping[str, Any]
    algorithm: str = "RS256"
    asked: list[str] = field(default_factory=list)

    def mint(self, claims: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None) -> str:
        """Return an access token; what is given is laid over it, None takes a member away."""
        return self.sign(_laid_over(self.access[0], header), _laid_over(self.access[1], claims))

    def mint_id_token(self, claims: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None) -> str:
        """Return an ID token, likewise."""
        return self.sign(_laid_over(self.id[0], header), _laid_over(self.id[1], claims))

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        key = signing_key(str(header.get("kid")), self.algorithm)
        return sign(header, claims, key)

    def verifier(self, rules: Generic | None = None, now: float = NOW) -> Verifier:
        """Return a verifier that finds this issuer's documents at their addresses, and nothing else."""
        return Verifier(
            rules or self.rules,
            transport=lambda: Published(self.documents, self.asked),
            clock=lambda: now,
            cache_policy=CachePolicy(unknown_kid=0, timeout=60),
        )


def sign(header: Mapping[str, Any], claims: Mapping[str, Any], key: RSAKey | ECKey) -> str:
    return jws.serialize_compact(dict(header), json.dumps(claims), key, registry=SignatureRegistry())


class Published(httpx2.AsyncBaseTransport):
    """Answers with documents by address, and notes what was asked for."""

    def __init__(self, documents: Mapping[str, Any], asked: list[str]) -> None:
        self._documents = documents
        self._asked = asked

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        self._asked.append(url)
        found = self._documents.get(url)
        return httpx2.Response(404) if found is None else httpx2.Response(200, json=found())


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in {**under, **(over or {})}.items() if value is not None}


POOL = "eu-west-1_Ab12Cd34E"
POOL_URL = f"https://cognito-idp.eu-west-1.amazonaws.com/{POOL}"
APP_CLIENT = "1example23456789abcdefgh"


def cognito() -> Vendor:
    """Amazon Cognito Developer Guide: "Understanding the access token", "Understanding the identity (ID) token",
    "Verifying JSON web tokens". Two keys: one for ID tokens, one for access tokens; no `typ` in the header.
    """
    user = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
    session = {"origin_jti": "0f0f0f0f-1111-4222-8333-444444444444", "event_id": "64f513be-32db-42b0-b78e-b02127b4f463"}
    access = {
        "sub": user,
        "cognito:groups": ["brewers"],
        "iss": POOL_URL,
        "version": 2,
        "client_id": APP_CLIENT,
        **session,
        "token_use": "access",
        "scope": "openid beers/read beers/write",
        "auth_time": NOW - 60,
        **_SOON,
        "jti": "6f7a8b9c-1111-4222-8333-555555555555",
        "username": "user-1",
    }
    id_token = {
        "sub": user,
        "cognito:groups": ["brewers"],
        "email_verified": True,
        "iss": POOL_URL,
        "cognito:username": "user-1",
        "nonce": "abcdefg",
        **session,
        "aud": APP_CLIENT,
        "token_use": "id",
        "auth_time": NOW - 60,
        **_SOON,
        "jti": "6f7a8b9c-1111-4222-8333-666666666666",
        "email": "user-1@example.com",
    }
    keys = ["1234example=", "5678example="]
    return Vendor(
        "cognito",
        Cognito("eu-west-1", POOL, [APP_CLIENT]),
        ({"kid": keys[1], "alg": "RS256"}, access),
        ({"kid": keys[0], "alg": "RS256"}, id_token),
        {f"{POOL_URL}/.well-known/jwks.json": lambda: {"keys": [public_key(k, kid=k, alg="RS256") for k in keys]}},
    )


REALM = "https://sso.example.com/realms/beer"
CERTIFIED = {"x5c": ["MIIC"], "x5t": "c2hvcnQ", "x5t#S256": "bG9uZ2Vy"}
"""What stands beside a key that has a certificate, which is nobody's business: here it is none."""


def keycloak() -> Vendor:
    """Keycloak Server Administration Guide, "Client scopes" and "Audience support"; Securing Applications Guide,
    "Endpoints". One issuer and one header for all kinds of token; the claim `typ` tells them apart. The key set also
    holds a key for encryption.
    """
    session = {"sid": "3c3c3c3c-1111-4222-8333-777777777777", "acr": "1", "auth_time": NOW - 60}
    user = {"sub": "5d5d5d5d-1111-4222-8333-888888888888", "preferred_username": "user-1"}
    access = {
        **_SOON,
        "jti": "onrtac:7e7e7e7e-1111-4222-8333-999999999999",
        "iss": REALM,
        "aud": ["beer-api", "account"],
        **user,
        "typ": "Bearer",
        "azp": "beer-spa",
        **session,
        "allowed-origins": ["https://beer.example.com"],
        "realm_access": {"roles": ["offline_access", "uma_authorization", "brewer"]},
        "resource_access": {
            "beer-api": {"roles": ["taster"]},
            "account": {"roles": ["manage-account", "view-profile"]},
        },
        "scope": "openid profile email",
        "email_verified": True,
    }
    id_token = {
        **_SOON,
        "jti": "8f8f8f8f-1111-4222-8333-aaaaaaaaaaaa",
        "iss": REALM,
        "aud": "beer-spa",
        **user,
        "typ": "ID",
        "azp": "beer-spa",
        "nonce": "abcdefg",
        "at_hash": "kZ0Vt7hE9VxCXn1pZl0DPQ",
        **session,
        "email_verified": True,
    }
    kid = "FJ86GcF3jTbNLOco4NvZkUCIUmfYCqoqtOQeMfbhNlE"
    header = {"alg": "RS256", "typ": "JWT", "kid": kid}
    certs = f"{REALM}/protocol/openid-connect/certs"
    return Vendor(
        "keycloak",
        Keycloak(REALM, ["beer-api"], role_clients=["beer-api"], client_ids=["beer-spa", "beer-batch"]),
        (header, access),
        (header, id_token),
        {
            f"{REALM}/.well-known/openid-configuration": lambda: {"issuer": REALM, "jwks_uri": certs},
            certs: lambda: {
                "keys": [
                    public_key("encryption", kid="enc-1", alg="RSA-OAEP", use="enc", **CERTIFIED),
                    public_key(kid, kid=kid, alg="RS256", **CERTIFIED),
                ]
            },
        },
    )


TENANT = "6f0a4b3c-1111-4222-8333-0123456789ab"
API = "c0ffee00-aaaa-4bbb-8ccc-0123456789ab"
SPA = "d00dad00-aaaa-4bbb-8ccc-0123456789ab"
_LOGIN = "https://login.microsoftonline.com"
_ENTRA_KID = "kg2LYs2T0CTjIfj4rt6JIynen38"


def entra(version: str = "2.0") -> Vendor:
    """Microsoft identity platform: "Access tokens", "Access token claims reference", "ID token claims reference".

    Keys name no algorithm but the issuer they may sign for. Version 1.0 has `appid` and another issuer, and its header
    names the key twice.
    """
    user = {"oid": "1a1a1a1a-1111-4222-8333-bbbbbbbbbbbb", "sub": "HKZpfaHyWadeOouYlitjrI-KffTm222X5rrV3xDqfKQ"}
    common = {**_SOON, "nbf": NOW - 60, "tid": TENANT, **user, "uti": "fqiBqXLPj0eQa82S-IYFAA", "rh": "0.AX8A."}
    if version == "1.0":
        issuer = f"https://sts.windows.net/{TENANT}/"
        own = {"aud": f"api://{API}", "appid": SPA, "appidacr": "0", "acr": "1", "amr": ["pwd", "mfa"]}
        header = {"typ": "JWT", "alg": "RS256", "x5t": _ENTRA_KID, "kid": _ENTRA_KID}
    else:
        issuer = f"{_LOGIN}/{TENANT}/v2.0"
        own = {"aud": API, "azp": SPA, "azpacr": "0"}
        header = {"typ": "JWT", "alg": "RS256", "kid": _ENTRA_KID}
    access = {**common, **own, "iss": issuer, "ver": version, "scp": "Beers.Read Beers.Write", "roles": ["Brewer"]}
    id_token = {
        **common,
        "aud": API,
        "iss": issuer,
        "ver": version,
        "roles": ["Brewer"],
        "preferred_username": "user-1@example.com",
        "nonce": "678910",
    }
    jwks_uri = f"{_LOGIN}/{TENANT}/discovery/v2.0/keys"
    metadata = {"issuer": f"{_LOGIN}/{TENANT}/v2.0", "jwks_uri": jwks_uri}
    key = {"kid": _ENTRA_KID, "x5t": _ENTRA_KID, "x5c": ["MIIC"], "issuer": f"{_LOGIN}/{TENANT}/v2.0"}
    key |= {"cloud_instance_name": "microsoftonline.com"}
    return Vendor(
        f"entra-{version}",
        EntraId(TENANT, [API]),
        (header, access),
        (header, id_token),
        {
            f"{_LOGIN}/{TENANT}/v2.0/.well-known/openid-configuration": lambda: metadata,
            jwks_uri: lambda: {"keys": [public_key(_ENTRA_KID, **key)]},
        },
    )


AUTH0_CLIENT = "K1AUPhZq8mRi0Q0pjhkfu1D7y6KjDQja"


def auth0(profile: str = "auth0") -> Vendor:
    """Auth0 Docs: "Access Token Profiles" (the table of differences), "ID Token Structure", "Enable Role-Based Access
    Control for APIs". The default profile has `typ` JWT, as ID tokens have, and names the client in `azp`.
    """
    issuer = "https://brewery.eu.auth0.com/"
    access = {
        "iss": issuer,
        "sub": "auth0|6553da60a54af58e29493993",
        "aud": ["https://api.example.com", "https://brewery.eu.auth0.com/userinfo"],
        **_SOON,
        "scope": "openid profile read:beers",
        "permissions": ["read:beers"],
        "https://beer.example.com/roles": ["brewer"],
        "org_id": "org_9ybsU1dN2dKfDkBi",
    }
    kid = "RkI5MjI5OUY5ODc1N0Q4QzM0OUYzNkVGMTJDOUEzQkFC"
    header = {"alg": "RS256", "typ": "JWT", "kid": kid}
    if profile == "auth0":
        access |= {"azp": AUTH0_CLIENT}
        access_header = header
    else:
        access |= {"client_id": AUTH0_CLIENT, "jti": "73WakrfVbNJBaAmhQtEeDv"}
        access_header = {**header, "typ": "at+jwt"}
    id_token = {
        "iss": issuer,
        "sub": "auth0|6553da60a54af58e29493993",
        "aud": AUTH0_CLIENT,
        **_SOON,
        "auth_time": NOW - 60,
        "sid": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz",
        "nonce": "ek5QdWp6b3JBWTNRRU5B",
    }
    jwks_uri = f"{issuer}.well-known/jwks.json"
    return Vendor(
        f"auth0-{profile}",
        Auth0("brewery.eu.auth0.com", ["https://api.example.com"], roles_claim="https://beer.example.com/roles"),
        (access_header, access),
        (header, id_token),
        {
            f"{issuer}.well-known/openid-configuration": lambda: {"issuer": issuer, "jwks_uri": jwks_uri},
            jwks_uri: lambda: {"keys": [public_key(kid, kid=kid, alg="RS256", x5t=kid, x5c=["MIIC"])]},
        },
    )


def tegata() -> Vendor:
    """Tegata: RFC 9068 §2; ID tokens after OIDC Core §2."""
    return _rfc9068("tegata", Tegata("https://id.example.com/demo", ["beer-service"]))


def generic() -> Vendor:
    """Any issuer that keeps to RFC 9068."""
    return _rfc9068("generic", Generic("https://login.example.net", ["beer-service"]))


def unmarked() -> Vendor:
    """An issuer whose access tokens have no `typ`, as RFC 7519 §5.1 allows."""
    claims = {"client_id": "beer-spa"}
    return _rfc9068(
        "unmarked", Generic("https://old.example.net", ["beer-service"], token_types=[]), typ=None, id_claims=claims
    )


def _rfc9068(
    name: str, rules: Generic, typ: str | None = "at+jwt", id_claims: Mapping[str, Any] | None = None
) -> Vendor:
    issuer, kid = rules.issuer, f"{name}-1"
    header = {"alg": "ES256", "kid": kid}
    access = {
        "iss": issuer,
        "sub": "user-1",
        "aud": "beer-service",
        "client_id": "beer-spa",
        **_SOON,
        "jti": "vYJkFzs1Qd2",
        "scope": "read write",
        "roles": ["brewer"],
        "acr": "urn:pwd",
        "auth_time": NOW - 60,
    }
    id_token = {
        "iss": issuer,
        "sub": "user-1",
        "aud": "beer-spa",
        **_SOON,
        "nonce": "n-0S6_WzA2Mj",
        **(id_claims or {}),
    }
    return Vendor(
        name,
        rules,
        ({**header, "typ": typ} if typ else header, access),
        ({**header, "typ": "JWT"}, id_token),
        {
            f"{issuer}/.well-known/openid-configuration": lambda: {"issuer": issuer, "jwks_uri": f"{issuer}/jwks"},
            f"{issuer}/jwks": lambda: {"keys": [public_key(kid, "ES256", kid=kid, alg="ES256")]},
        },
        algorithm="ES256",
    )


def all_vendors() -> list[Vendor]:
    """One of each shape."""
    return [
        tegata(),
        generic(),
        unmarked(),
        cognito(),
        keycloak(),
        entra("1.0"),
        entra("2.0"),
        auth0("auth0"),
        auth0("rfc9068"),
    ]
