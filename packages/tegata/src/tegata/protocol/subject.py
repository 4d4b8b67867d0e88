"""Subject identifiers, public and pairwise (OIDC Core §8)."""

from __future__ import annotations

from urllib.parse import urlsplit

from tegata.crypto.digests import base64url, keyed_digest
from tegata.identifiers import UserId
from tegata.protocol.client import ClientMetadata


def subject_for(user_id: UserId, client: ClientMetadata, *, pairwise_salt: bytes) -> str:
    """Return the `sub` that this client sees for this user. Every token and UserInfo answer of the client uses it."""
    if client.subject_type == "public":
        return str(user_id)
    return base64url(keyed_digest(pairwise_salt, sector_of(client), str(user_id)))


def sector_of(client: ClientMetadata) -> str:
    """Return the sector identifier (OIDC Core §8.1): the host that clients of one sector share."""
    uri = client.sector_identifier_uri or (client.redirect_uris[0] if client.redirect_uris else "")
    return _sector(uri)


def problem_with_sector(client: ClientMetadata) -> str | None:
    """Return why the client's pairwise subjects would not be defined, or None. Asked when a client is registered."""
    if client.subject_type == "public" or client.sector_identifier_uri is not None:
        return None
    if len({_sector(uri) for uri in client.redirect_uris}) > 1:
        return "redirect URIs on several hosts need a sector_identifier_uri"
    return None


def _sector(uri: str) -> str:
    """Return the host, or for a private-use scheme, which has none, the whole URI."""
    return urlsplit(uri).hostname or uri
