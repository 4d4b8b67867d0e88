"""Typed reads of secrets through a cache that rotation does not surprise.

Owns: `SecretService`, its cache, the models of the secrets it knows, and the logins that are made of them. Needs the
extra `secrets` (Pydantic). Must not import AWS's SDK or a driver: stores are sources (`tegata_credentials.sources`).
"""

from __future__ import annotations

from tegata_credentials.errors import missing_extra

try:
    import pydantic  # noqa: F401 - every module below needs it, and this says how to get it
except ImportError as error:
    raise missing_extra("secrets", "pydantic") from error

from tegata_credentials.secret_service.attempts import AsyncOffer, LoginRefused, Offer, Use
from tegata_credentials.secret_service.batch import AllSecrets, Batch
from tegata_credentials.secret_service.memory import SecretsInMemory
from tegata_credentials.secret_service.models import (
    DatabaseCredentials,
    ExternalApiCredentials,
    JwtSecret,
    Login,
    SecretModel,
    SigningKey,
)
from tegata_credentials.secret_service.names import SecretNames
from tegata_credentials.secret_service.passwords import SecretLogin, SyncSecretLogin
from tegata_credentials.secret_service.policy import CachePolicy
from tegata_credentials.secret_service.service import SecretService
from tegata_credentials.secret_service.timing import Timing

__all__ = [
    "AllSecrets",
    "AsyncOffer",
    "Batch",
    "CachePolicy",
    "DatabaseCredentials",
    "ExternalApiCredentials",
    "JwtSecret",
    "Login",
    "LoginRefused",
    "Offer",
    "SecretLogin",
    "SecretModel",
    "SecretNames",
    "SecretService",
    "SecretsInMemory",
    "SigningKey",
    "SyncSecretLogin",
    "Timing",
    "Use",
]
