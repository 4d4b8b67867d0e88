"""What the access tokens of each issuer look like, after its own documentation; the rules for it say which it is."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tegata_verify.issuers import Auth0, Cognito, EntraId, Generic, Keycloak

_UNNAMED = "https://issuer.test"

Claims = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a token is to say, whatever its shape. Without `audience` there is none in it."""

    subject: str
    client_id: str
    scope: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    audience: str | list[str]
    issued: int
    expires: int
    is_service: bool


def find_issuer(rules: Generic) -> str:
    """Return the `iss` of tokens: of several the newest version of the first tenant, for none a made-up one."""
    if isinstance(rules, EntraId):
        return sorted(rules.accepted_issuers, key=lambda issuer: (not issuer.endswith("/v2.0"), issuer))[0]
    return rules.issuer or _UNNAMED


def find_audience(rules: Generic) -> str:
    """Return the audience that a token has if none is asked for; an empty text where tokens have none."""
    if isinstance(rules, EntraId) and not find_issuer(rules).endswith("/v2.0"):
        return max(rules.audiences)  # the URI of an application's ID
    return min(rules.audiences, default="")


def find_client(rules: Generic) -> str:
    """Return the client that a token is issued to if none is asked for."""
    return min(rules.client_ids, default="client-1")


def find_algorithm(rules: Generic) -> str:
    """Return the algorithm that the issuer uses out of the box, of those allowed."""
    vendors = (Auth0, Cognito, EntraId, Keycloak)
    preferred = ("RS256", "ES256") if isinstance(rules, vendors) else ("ES256", "RS256")
    return next(name for name in (*preferred, "PS256", "EdDSA", "Ed25519") if name in rules.algorithms)


def find_jwks_uri(rules: Generic) -> str:
    """Return where the keys are."""
    if rules.jwks_uri is not None:
        return rules.jwks_uri
    if isinstance(rules, EntraId):
        return f"{rules.authority}/{rules.tenant_id}/discovery/v2.0/keys"
    if isinstance(rules, Keycloak):
        return f"{rules.issuer}/protocol/openid-connect/certs"
    return f"{rules.issuer.rstrip('/')}{'/.well-known/jwks.json' if isinstance(rules, Auth0) else '/jwks'}"


def build_key_members(rules: Generic) -> Mapping[str, str]:
    """Return what the issuer's published keys say beside themselves: Entra ID's, for whom they sign."""
    return {"issuer": rules.issuer} if isinstance(rules, EntraId) else {}


def build_type(rules: Generic) -> str | None:
    """Return the header's `typ`; None where it has none."""
    is_marked = not isinstance(rules, Auth0 | EntraId | Keycloak) or "jwt" not in rules.token_types
    if is_marked and "at+jwt" in rules.token_types:
        return "at+jwt"
    if "jwt" in rules.token_types:
        return "JWT"
    return min(rules.token_types, default=None)


def build_claims(rules: Generic, wanted: Wanted) -> Claims:
    """Return the claims of an access token. Raises `ValueError` for what the issuer's tokens have no place for."""
    claims: Claims = {"iss": find_issuer(rules), "sub": wanted.subject, "iat": wanted.issued, "exp": wanted.expires}
    claims["jti"] = f"token-{time.time_ns()}-{uuid.uuid4().hex[:8]}"
    if wanted.audience:
        claims["aud"] = wanted.audience
    paths = rules.claim_paths
    _put(claims, paths.scope, wanted.scope, "scope")
    _put(claims, paths.client_id, wanted.client_id, "client_id")
    _put(claims, paths.permissions, sorted(wanted.permissions), "permissions")
    if isinstance(rules, Cognito):
        _add_cognito(claims, rules, wanted)
    elif isinstance(rules, Keycloak):
        _add_keycloak(claims, rules, wanted)
    elif isinstance(rules, EntraId):
        _add_entra(claims, rules, wanted)
    elif isinstance(rules, Auth0):
        _add_auth0(claims, rules, wanted)
    else:
        _put(claims, paths.roles, sorted(wanted.roles), "roles")
        if wanted.is_service:
            claims["sub"] = wanted.client_id
    return claims


def build_id_token_claims(rules: Generic, wanted: Wanted) -> Claims:
    """Return the claims of the ID token of the same login. OIDC Core §2."""
    issuer = find_issuer(rules)
    claims = {"iss": issuer, "sub": wanted.subject, "iat": wanted.issued, "exp": wanted.expires}
    own: Mapping[str, Any] = {}
    if isinstance(rules, Cognito):
        own = {"token_use": "id", "cognito:username": wanted.subject}
    elif isinstance(rules, Keycloak):
        own = {"typ": "ID", "azp": wanted.client_id}
    elif isinstance(rules, EntraId):
        version, tenant = _version_and_tenant(issuer)
        own = {"ver": version, "tid": tenant, "oid": _uuid(wanted.subject)}
    return {**claims, "aud": wanted.client_id, "auth_time": wanted.issued, "nonce": uuid.uuid4().hex, **own}


def put_client(rules: Generic, claims: Claims, client_id: str) -> None:
    """Say in an access token or an ID token that it was issued to another client."""
    names = {"appid", "azp", "client_id"} & set(claims)
    for name in names:
        claims[name] = client_id
    if not names:
        _put(claims, rules.claim_paths.client_id, client_id, "client_id")


def _add_cognito(claims: Claims, rules: Cognito, wanted: Wanted) -> None:
    """Amazon Cognito Developer Guide, "Understanding the access token"."""
    claims |= {"version": 2, "token_use": "access", "auth_time": wanted.issued}
    if wanted.is_service:
        claims["sub"] = wanted.client_id
        return
    claims |= {"username": wanted.subject, "origin_jti": str(uuid.uuid4()), "event_id": str(uuid.uuid4())}
    if wanted.roles:
        _put(claims, rules.claim_paths.roles, sorted(wanted.roles), "roles")


def _add_keycloak(claims: Claims, rules: Keycloak, wanted: Wanted) -> None:
    """Keycloak Server Administration Guide, "Client scopes"; roles of clients as `{client}:{role}`."""
    of_clients: dict[str, list[str]] = {}
    of_realm = []
    for role in sorted(wanted.roles):
        client, colon, name = role.rpartition(":")
        if colon and client in rules.role_clients:
            of_clients.setdefault(client, []).append(name)
        else:
            of_realm.append(role)
    _put(claims, rules.claim_paths.roles, of_realm, "roles")
    claims["resource_access"] = {client: {"roles": names} for client, names in of_clients.items()}
    account = f"service-account-{wanted.client_id}".lower() if wanted.is_service else wanted.subject
    claims |= {"typ": "Bearer", "preferred_username": account, "acr": "1", "email_verified": True}
    if not wanted.is_service:
        claims |= {"sid": str(uuid.uuid4()), "auth_time": wanted.issued}


def _add_entra(claims: Claims, rules: EntraId, wanted: Wanted) -> None:
    """Microsoft identity platform, "Access token claims reference"."""
    version, tenant = _version_and_tenant(claims["iss"])
    claims |= {"ver": version, "tid": tenant, "nbf": wanted.issued, "oid": _uuid(wanted.subject), "uti": claims["jti"]}
    del claims["jti"]
    if version == "1.0":
        claims["appid"] = claims.pop("azp", wanted.client_id)
    if wanted.roles:
        _put(claims, rules.claim_paths.roles, sorted(wanted.roles), "roles")
    if wanted.is_service:
        # An application has roles and no scopes; subject and object are one.
        claims |= {"sub": claims["oid"], "idtyp": "app"}
        del claims["scp"]
    elif not wanted.scope:
        # None is issued without: the default scope of an API that was registered in the portal.
        claims["scp"] = "access_as_user"


def _add_auth0(claims: Claims, rules: Auth0, wanted: Wanted) -> None:
    """Auth0 Docs, "Access Token Profiles"."""
    if wanted.roles:
        path = (rules.roles_claim,) if rules.roles_claim is not None else rules.claim_paths.roles
        _put(claims, path, sorted(wanted.roles), "roles")
    if build_type(rules) == "at+jwt":
        claims["client_id"] = claims.pop("azp", wanted.client_id)
    if wanted.is_service:
        claims |= {"sub": f"{wanted.client_id}@clients", "gty": "client-credentials"}


def _version_and_tenant(issuer: str) -> tuple[str, str]:
    return ("2.0" if issuer.endswith("/v2.0") else "1.0"), issuer.split("/")[3]


def _uuid(subject: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, subject))


def _put(claims: Claims, path: tuple[str, ...], value: Any, what: str) -> None:
    if not path:
        if value:
            raise ValueError(f"{what}: the rules name no claim that holds them")
        return
    *outer, last = path
    for name in outer:
        claims = claims.setdefault(name, {})
    claims[last] = value
