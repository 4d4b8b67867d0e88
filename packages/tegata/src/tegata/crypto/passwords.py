"""Human passwords: argon2id (RFC 9106), parameters of the OWASP password storage cheat sheet.

The calls take tens of milliseconds of a core: `flows.passwords` keeps them in a small pool of their own.
"""

from __future__ import annotations

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

MAX_PASSWORD_CHARACTERS = 1024

_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=Type.ID)
# What an absent account is checked against, so that it takes as long as a present one. Nobody knows its password.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$dGVnYXRhLW5vYm9keS1zYWx0$2Pn0bCz4lKXw2o3m0fRZP6zqgvK9oQvAJ1h2Xn5yQ0E"


def hash_password(password: str) -> str:
    """Return the encoded argon2id hash."""
    return _HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether `password` is the one; for no hash, spend the same time and say no."""
    if len(password) > MAX_PASSWORD_CHARACTERS:
        return False
    try:
        return _HASHER.verify(password_hash or _NOBODY, password) and password_hash is not None
    except (VerificationError, InvalidHashError):
        return False


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with parameters that are not today's."""
    return _HASHER.check_needs_rehash(password_hash)
