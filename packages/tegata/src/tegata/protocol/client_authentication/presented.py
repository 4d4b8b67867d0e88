"""Which credentials a request carries, and that there is exactly one kind of them (RFC 6749 §2.3)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from tegata.protocol.client import AuthMethod, Client
from tegata.protocol.errors import invalid_client, invalid_request
from tegata.protocol.parameters import Parameters

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_MAX_HEADER_CHARACTERS = 2048


@dataclass(frozen=True, slots=True)
class PresentedCredentials:
    """What the client sent. `client_id` is None only for an assertion, which names its client itself."""

    method: AuthMethod
    client_id: str | None
    secret: str | None = field(default=None, repr=False)
    assertion: str | None = field(default=None, repr=False)


def read(authorization: str | None, parameters: Parameters) -> PresentedCredentials:
    """Return the one kind of credentials in the request.

    Raises `invalid_request` for two kinds at once (RFC 6749 §2.3) and `invalid_client` for a malformed header.
    """
    client_id = parameters.get("client_id")
    secret = parameters.get("client_secret")
    assertion = parameters.get("client_assertion")
    if sum(value is not None for value in (authorization, secret, assertion)) > 1:
        raise invalid_request("more than one way of client authentication", "client_authentication_mixed")
    if authorization is not None:
        presented = _basic(authorization)
        if client_id is not None and client_id != presented.client_id:
            raise invalid_request("client_id differs from the Authorization header", "client_id_mismatch")
        return presented
    if assertion is not None:
        if parameters.get("client_assertion_type") != ASSERTION_TYPE:
            raise invalid_client("client_assertion_type is not supported", "assertion_type")
        return PresentedCredentials("private_key_jwt", client_id, assertion=assertion)
    if client_id is None:
        raise invalid_client("client authentication is missing", "client_authentication_missing")
    if secret is not None:
        return PresentedCredentials("client_secret_post", client_id, secret=secret)
    return PresentedCredentials("none", client_id)


def check_method(client: Client | None, presented: PresentedCredentials) -> Client:
    """Return the client if it exists and uses this method; the error does not tell which (RFC 6749 §5.2)."""
    if client is None:
        raise invalid_client("client authentication failed", "client_unknown")
    if client.metadata.disabled:
        raise invalid_client("client authentication failed", "client_disabled")
    if client.metadata.token_endpoint_auth_method != presented.method:
        raise invalid_client("client authentication failed", "client_authentication_method")
    return client


def _basic(header: str) -> PresentedCredentials:
    """RFC 6749 §2.3.1: both halves are form-encoded before they are joined and base64-encoded."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic" or len(header) > _MAX_HEADER_CHARACTERS:
        raise invalid_client("the Authorization header is not Basic", "authorization_header")
    try:
        raw = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        client_id, colon, secret = raw.partition(":")
        client_id, secret = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        raise invalid_client("the Authorization header is malformed", "authorization_header") from None
    if not colon or not client_id or not client_id.isprintable():
        raise invalid_client("the Authorization header is malformed", "authorization_header")
    return PresentedCredentials("client_secret_basic", client_id, secret=secret)
