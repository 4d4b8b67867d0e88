"""The form in which PostgreSQL keeps a password, computed here so that the password itself is never sent.

RFC 5802 §3 and RFC 7677; the text form is that of `pg_authid.rolpassword` (PostgreSQL documentation, "Password
Authentication").
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os

from tegata_credentials.errors import CredentialError
from tegata_credentials.token_state import HiddenText

# What PostgreSQL itself uses unless it is told otherwise.
_ITERATIONS, _SALT_BYTES = 4096, 16


def scram_verifier(password: str, *, salt: bytes | None = None) -> HiddenText:
    """Return the SCRAM-SHA-256 verifier of a password of printable ASCII, for which RFC 4013 changes nothing.

    Raises `CredentialError` for any other password.

    >>> str(scram_verifier("pencil", salt=bytes(16)))[:48]
    'SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==$cYb2'
    """
    if not password or not password.isascii() or not password.isprintable():
        raise CredentialError("a password that is set by its verifier consists of printable ASCII characters")
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    parts = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return HiddenText("SCRAM-SHA-256${}:{}${}:{}".format(_ITERATIONS, *parts))
