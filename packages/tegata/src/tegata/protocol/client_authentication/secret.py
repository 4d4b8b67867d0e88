"""Client secrets, for client_secret_basic and client_secret_post (RFC 6749 §2.3.1)."""

from __future__ import annotations

from tegata.crypto.digests import matches
from tegata.protocol.client import Client
from tegata.protocol.errors import invalid_client


def check_secret(client: Client, secret: str | None, *, now: float) -> None:
    """Refuse unless `secret` is one of the client's living secrets. Compared in constant time, all of them."""
    living = [kept for kept in client.secrets if kept.expires_at is None or now < kept.expires_at]
    found = [kept for kept in living if matches(kept.digest, secret or "")]
    if not found:
        raise invalid_client("client authentication failed", "client_secret")
