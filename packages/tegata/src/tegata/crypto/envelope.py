"""Encryption at rest: values sealed under the master key, and refresh successors sealed under their predecessor.

AES-256-GCM with a random 96-bit nonce. A data key is derived for each tenant and purpose (HKDF, RFC 5869), so that a
sealed value moved to another tenant's row, or to another purpose, does not open.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_VERSION = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY_ID_BYTES = 4


class SealBroken(Exception):
    """A sealed value was changed, or is sealed under a key that is not configured."""


def new_master_key() -> str:
    """Return a new master key in the form `TEGATA_MASTER_KEY` takes."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")


class Envelope:
    """Seals under the first of the master keys and opens under all of them, so that a key can be replaced."""

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        if not master_keys or any(len(key) != _KEY_BYTES for key in master_keys):
            raise ValueError("a master key is 32 bytes, as base64url")
        self._masters = {_key_id(key): key for key in master_keys}
        self._current = _key_id(master_keys[0])

    @classmethod
    def from_text(cls, text: str) -> Envelope:
        """Read one or several keys, base64url, separated by commas or white space; the first one seals.

        Raises `ValueError`, whose message never holds the key.
        """
        try:
            keys = [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in text.replace(",", " ").split()]
        except (binascii.Error, ValueError):
            raise ValueError("the master key is not base64url") from None
        return cls(keys)

    def seal(self, plaintext: bytes, *, tenant: str, purpose: str) -> bytes:
        """Encrypt `plaintext` for one tenant and purpose."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = AESGCM(_derive(self._masters[self._current], tenant, purpose))
        return _VERSION + self._current + nonce + cipher.encrypt(nonce, plaintext, None)

    def open(self, sealed: bytes, *, tenant: str, purpose: str) -> bytes:
        """Decrypt. Raises `SealBroken`."""
        key_id = sealed[1 : 1 + _KEY_ID_BYTES]
        master = self._masters.get(key_id)
        if sealed[:1] != _VERSION or master is None:
            raise SealBroken("sealed under a master key that is not configured")
        rest = sealed[1 + _KEY_ID_BYTES :]
        return _decrypt(_derive(master, tenant, purpose), rest)


def seal_successor(presented: str, successor: str) -> bytes:
    """Seal the next refresh token so that only who holds the presented one can read it (pitfalls P23).

    The presented token has 256 random bits and seals exactly one successor, so a key derived from it is used once.
    """
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(_derive(presented.encode(), "", "refresh-successor")).encrypt(nonce, successor.encode(), None)


def open_successor(presented: str, sealed: bytes) -> str:
    """Return the successor sealed by `seal_successor`. Raises `SealBroken`."""
    return _decrypt(_derive(presented.encode(), "", "refresh-successor"), sealed).decode()


def derive_key(secret: bytes, purpose: str) -> bytes:
    """Return a 32-byte key for one purpose."""
    return _derive(secret, "", purpose)


def _decrypt(key: bytes, nonce_and_text: bytes) -> bytes:
    nonce, text = nonce_and_text[:_NONCE_BYTES], nonce_and_text[_NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, text, None)
    except (InvalidTag, ValueError):
        raise SealBroken("the sealed value was changed") from None


def _derive(secret: bytes, tenant: str, purpose: str) -> bytes:
    info = f"tegata/1|{tenant}|{purpose}".encode()
    return HKDF(algorithm=hashes.SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(secret)


def _key_id(master: bytes) -> bytes:
    return _derive(master, "", "key-id")[:_KEY_ID_BYTES]
