"""The client credentials grant (RFC 6749 §4.4)."""

from __future__ import annotations

from tegata.protocol.client import Client
from tegata.protocol.errors import unauthorized_client


def check_client(client: Client) -> None:
    """Refuse a public client: it has no credentials to go by (RFC 6749 §4.4)."""
    if client.is_public:
        raise unauthorized_client("a public client may not use client_credentials", "public_client")
