"""Authenticate a client at a back-channel endpoint (RFC 6749 §2.3, RFC 7523 §3)."""

from __future__ import annotations

from tegata.crypto.signing import BadSignature, key_id_of, verify_with_keys
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.protocol.client import Client
from tegata.protocol.client_authentication import assertion, presented, secret
from tegata.protocol.client_authentication.presented import PresentedCredentials
from tegata.protocol.errors import invalid_client
from tegata.protocol.parameters import Parameters


async def authenticate(
    services: Services, loaded: LoadedTenant, authorization: str | None, parameters: Parameters, *, endpoint: str
) -> Client:
    """Return the client that proved itself. `endpoint` is the path segment that was called, for assertion audiences.

    Raises `OAuthError` with `invalid_client` or `invalid_request`.
    """
    credentials = presented.read(authorization, parameters)
    client_id = credentials.client_id
    if credentials.assertion is not None:
        client_id = assertion.claimed_client_id(credentials.assertion, credentials.client_id)
    client = presented.check_method(
        await services.directory.find_client(loaded.tenant_id, client_id or ""), credentials
    )
    now = services.clock()
    if credentials.method in {"client_secret_basic", "client_secret_post"}:
        secret.check_secret(client, credentials.secret, now=now)
    elif credentials.method == "private_key_jwt":
        await _check_assertion(services, loaded, client, credentials, endpoint=endpoint, now=now)
    return client


async def _check_assertion(
    services: Services,
    loaded: LoadedTenant,
    client: Client,
    credentials: PresentedCredentials,
    *,
    endpoint: str,
    now: float,
) -> None:
    text = credentials.assertion or ""
    try:
        found = await services.client_keys.find(client.metadata, key_id_of(text))
        claims = verify_with_keys(text, [(key.key, key.algorithms) for key in found], assertion.ALGORITHMS)
    except BadSignature:
        raise invalid_client("client authentication failed", "assertion_signature") from None
    audiences = (loaded.issuer, f"{loaded.issuer}/token", f"{loaded.issuer}/{endpoint}")
    remember_until = assertion.check_claims(claims, client.client_id, audiences, now=now)
    fresh = await services.storage.take_assertion_id(
        loaded.tenant_id, client_id=client.client_id, jti=claims["jti"], expires_at=remember_until
    )
    if not fresh:
        raise invalid_client("client authentication failed", "assertion_replayed")
