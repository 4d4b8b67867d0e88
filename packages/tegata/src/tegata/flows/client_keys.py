"""The public keys of clients, from their `jwks` or their `jwks_uri` (RFC 7591 §2), parsed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from tegata.protocol.client import ClientMetadata
from tegata_verify.errors import KeysUnavailable
from tegata_verify.jwks import KeySet, VerificationKey, parse_key_set

_MAX_KEYS = 20
_MAX_KEPT = 10_000
_MAX_REMOTE = 1_000


class RemoteKeys(Protocol):
    """The keys behind one `jwks_uri`: kept, refetched for an unknown kid at most every 30 s, stale in an outage."""

    async def find_keys(self, kid: str | None) -> tuple[VerificationKey, ...]:
        """Return the keys with this kid, all of them for None. Raises `KeysUnavailable`."""
        ...


class ClientKeys:
    """Finds the keys that may verify a client's signature."""

    def __init__(self, remote: Callable[[str], RemoteKeys]) -> None:
        self._make_remote = remote
        self._remote: OrderedDict[str, RemoteKeys] = OrderedDict()
        self._inline: OrderedDict[int, tuple[Any, KeySet]] = OrderedDict()

    async def find(self, client: ClientMetadata, kid: str | None) -> Sequence[VerificationKey]:
        """Return the candidates; none if the client has no usable key or its keys cannot be had."""
        try:
            if client.jwks is not None:
                return self._parsed(client.jwks).find(kid)
            if client.jwks_uri is not None:
                return await self._remote_keys(client.jwks_uri).find_keys(kid)
        except (KeysUnavailable, ValueError):
            return ()
        return ()

    def _parsed(self, jwks: Any) -> KeySet:
        """Parse an inline key set once for as long as the client stays loaded: the object itself is the key."""
        kept = self._inline.get(id(jwks))
        if kept is not None and kept[0] is jwks:
            return kept[1]
        parsed = parse_key_set(jwks, max_keys=_MAX_KEYS)
        self._inline[id(jwks)] = (jwks, parsed)
        if len(self._inline) > _MAX_KEPT:
            self._inline.popitem(last=False)
        return parsed

    def _remote_keys(self, uri: str) -> RemoteKeys:
        found = self._remote.get(uri)
        if found is None:
            found = self._remote[uri] = self._make_remote(uri)
            if len(self._remote) > _MAX_REMOTE:
                self._remote.popitem(last=False)
        return found
