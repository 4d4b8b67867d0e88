"""Issue tokens: build the claims, sign, and name what has to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tegata.crypto.digests import digest_of, new_identifier, new_secret
from tegata.flows.directory import LoadedTenant
from tegata.identifiers import Digest
from tegata.identity.account import User
from tegata.protocol import claims as claims_rules
from tegata.protocol.claims import ClaimsRequest
from tegata.protocol.client import Client
from tegata.protocol.resource import scopes_at
from tegata.protocol.subject import subject_for
from tegata.protocol.tokens import access_token, id_token
from tegata.storage.records import GrantRecord, NewRefreshToken, OpaqueTokenRecord


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token that was just made; `opaque` has to be stored before `text` may be given away."""

    text: str = field(repr=False)
    lifetime_seconds: int
    scopes: tuple[str, ...]
    token_id: str
    opaque: OpaqueTokenRecord | None


def make_refresh_token() -> tuple[str, Digest]:
    """Return a new refresh token and its digest."""
    text = new_secret()
    return text, Digest(digest_of(text))


def refresh_lifetime(client: Client, loaded: LoadedTenant) -> int:
    """Return the lifetime of a refresh token in seconds."""
    own = client.metadata.refresh_token_lifetime_seconds
    return loaded.tenant.policy.refresh_token_lifetime_seconds if own is None else own


def new_refresh(digest: Digest, client: Client, loaded: LoadedTenant, *, now: float) -> NewRefreshToken:
    """Return what is kept of a refresh token."""
    return NewRefreshToken(digest, now + refresh_lifetime(client, loaded))


def access_token_for_user(
    loaded: LoadedTenant,
    client: Client,
    grant: GrantRecord,
    user: User,
    *,
    scopes: Sequence[str],
    audience: Sequence[str],
    now: float,
) -> AccessToken:
    """Make an access token for a user's grant, with the tenant's claim mapping."""
    policy = loaded.tenant.policy
    return _access_token(
        loaded,
        client,
        grant,
        subject=subject_for(user.user_id, client.metadata, pairwise_salt=loaded.tenant.pairwise_salt),
        scopes=scopes_at(audience, scopes, policy),
        audience=audience,
        authentication={"auth_time": grant.auth_time, "acr": grant.acr, "amr": list(grant.amr)},
        mapped=claims_rules.mapped(user, policy.access_token_claims),
        now=now,
    )


def access_token_for_service(
    loaded: LoadedTenant, client: Client, *, scopes: Sequence[str], audience: Sequence[str], now: float
) -> AccessToken:
    """Make an access token whose subject is the client itself (RFC 9068 §2.2)."""
    return _access_token(
        loaded,
        client,
        None,
        subject=client.client_id,
        scopes=scopes_at(audience, scopes, loaded.tenant.policy),
        audience=audience,
        authentication={},
        mapped={},
        now=now,
    )


def id_token_for(
    loaded: LoadedTenant,
    client: Client,
    grant: GrantRecord,
    user: User,
    access: AccessToken,
    *,
    nonce: str | None,
    now: float,
) -> str:
    """Make the ID token that goes with an access token."""
    policy = loaded.tenant.policy
    claims = id_token.build_claims(
        issuer=loaded.issuer,
        subject=subject_for(user.user_id, client.metadata, pairwise_salt=loaded.tenant.pairwise_salt),
        client_id=client.client_id,
        issued_at=int(now),
        lifetime_seconds=policy.id_token_lifetime_seconds,
        auth_time=grant.auth_time,
        acr=grant.acr,
        amr=grant.amr,
        session_id=str(grant.session_id) if grant.session_id is not None else None,
        nonce=nonce,
        access_token=access.text,
        personal=claims_rules.for_id_token(user, ClaimsRequest.from_document(grant.claims), policy),
    )
    algorithm = client.metadata.id_token_signed_response_alg or policy.id_token_signing_alg
    return loaded.signer(algorithm).sign(claims, typ=id_token.TYPE)


def answer(
    access: AccessToken, *, refresh_token: str | None = None, id_token_text: str | None = None
) -> dict[str, Any]:
    """Return the successful answer of the token endpoint (RFC 6749 §5.1, OIDC Core §3.1.3.3)."""
    document: dict[str, Any] = {
        "access_token": access.text,
        "token_type": "Bearer",
        "expires_in": access.lifetime_seconds,
        "scope": " ".join(access.scopes),
    }
    if refresh_token is not None:
        document["refresh_token"] = refresh_token
    if id_token_text is not None:
        document["id_token"] = id_token_text
    return document


def _access_token(
    loaded: LoadedTenant,
    client: Client,
    grant: GrantRecord | None,
    *,
    subject: str,
    scopes: tuple[str, ...],
    audience: Sequence[str],
    authentication: Mapping[str, Any],
    mapped: Mapping[str, Any],
    now: float,
) -> AccessToken:
    policy, metadata = loaded.tenant.policy, client.metadata
    lifetime = metadata.access_token_lifetime_seconds or policy.access_token_lifetime_seconds
    issued_at = int(now)
    jti = access_token.token_id(new_identifier(), grant.grant_id if grant is not None else None)
    if (metadata.access_token_format or policy.access_token_format) == "opaque":
        text = new_secret()
        record = OpaqueTokenRecord(
            digest=Digest(digest_of(text)),
            token_id=jti,
            client_id=client.client_id,
            grant_id=grant.grant_id if grant is not None else None,
            user_id=grant.user_id if grant is not None else None,
            subject=subject,
            scopes=scopes,
            audience=tuple(audience),
            claims={**mapped, **authentication},
            issued_at=issued_at,
            expires_at=issued_at + lifetime,
        )
        return AccessToken(text, lifetime, scopes, jti, record)
    claims = access_token.build_claims(
        issuer=loaded.issuer,
        subject=subject,
        client_id=client.client_id,
        audience=audience,
        scopes=scopes,
        jti=jti,
        issued_at=issued_at,
        lifetime_seconds=lifetime,
        authentication=authentication,
        mapped=mapped,
    )
    algorithm = metadata.access_token_signed_response_alg or policy.access_token_signing_alg
    return AccessToken(loaded.signer(algorithm).sign(claims, typ=access_token.TYPE), lifetime, scopes, jti, None)
