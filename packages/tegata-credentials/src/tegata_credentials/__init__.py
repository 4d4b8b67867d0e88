"""Secrets that rotate themselves, and PostgreSQL without a password.

Owns: tokens and secrets in memory, the providers of Azure and AWS, and the adapters that hand a password to a driver
at each login. Must not import `tegata` or `tegata_verify`. Each driver and SDK is imported in its own module only
(`tegata_credentials.asyncpg`, `.psycopg`, `.sqlalchemy`, `.azure`, `.aws`) and comes with the extra of that name.
"""

from __future__ import annotations

from tegata_credentials.database import (
    AuthMethod,
    FixedPassword,
    LoginPassword,
    PasswordSource,
    RotatingSecret,
    SecretReader,
    SyncFixedPassword,
    SyncPasswordSource,
    SyncRotatingSecret,
    SyncSecretReader,
)
from tegata_credentials.errors import CredentialError, IdentityUnavailable
from tegata_credentials.tokens import (
    RefreshPolicy,
    SyncTokenProvider,
    SyncTokenSource,
    Token,
    TokenProvider,
    TokenSource,
)

__all__ = [
    "AuthMethod",
    "CredentialError",
    "FixedPassword",
    "IdentityUnavailable",
    "LoginPassword",
    "PasswordSource",
    "RefreshPolicy",
    "RotatingSecret",
    "SecretReader",
    "SyncFixedPassword",
    "SyncPasswordSource",
    "SyncRotatingSecret",
    "SyncSecretReader",
    "SyncTokenProvider",
    "SyncTokenSource",
    "Token",
    "TokenProvider",
    "TokenSource",
]
