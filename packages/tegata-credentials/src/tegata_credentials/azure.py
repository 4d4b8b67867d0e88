"""Microsoft Entra tokens for Azure Database for PostgreSQL: managed identities, and a developer's own login."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from tegata_credentials.errors import CredentialError, IdentityUnavailable, missing_extra
from tegata_credentials.threads import InThread
from tegata_credentials.token_state import Token

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

    from tegata_credentials.sync_tokens import SyncTokenProvider
    from tegata_credentials.tokens import TokenProvider

POSTGRES_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
"""The audience of a token for Azure Database for PostgreSQL (Azure documentation, "Microsoft Entra authentication")."""

# One retry, and no attempt longer than a few seconds: the source tries again by itself, and readiness must not hang.
LIMITS: dict[str, Any] = {
    "retry_total": 1,
    "retry_status": 1,
    "retry_connect": 1,
    "retry_read": 0,
    "retry_backoff_factor": 0.2,
    "retry_backoff_max": 1,
    "connection_timeout": 2,
    "read_timeout": 4,
    "timeout": 8,
}


class Credential(Protocol):
    """What is used of an azure-identity credential."""

    def get_token(self, *scopes: str) -> AccessToken:
        """Obtain a token."""

    def close(self) -> None:
        """Close connections."""


class EntraTokens:
    """Obtains tokens from an azure-identity credential, which is made by `make` when first needed and after a fork.

    A credential caches its token until shortly before the announced end and cannot be told to forget it; so
    `discard` makes a new one. The same after a failure: the SDK would repeat some failures from memory.
    """

    def __init__(self, make: Callable[[], Credential], *, scope: str = POSTGRES_SCOPE) -> None:
        self._make = make
        self._scope = scope
        self._lock = threading.Lock()
        self._credentials: dict[int, Credential] = {}

    def fetch(self) -> Token:
        """Obtain a token. Raises `IdentityUnavailable`, without the SDK's text, which may repeat an answer."""
        outcome = self._obtain()
        if isinstance(outcome, IdentityUnavailable):
            self.discard()
            raise outcome
        return outcome

    def discard(self) -> None:
        """Forget the credential and with it everything cached."""
        credential = self._credentials.pop(os.getpid(), None)
        if credential is not None:
            credential.close()

    def close(self) -> None:
        """Close the credential."""
        self.discard()

    def _obtain(self) -> Token | IdentityUnavailable:
        from azure.core.exceptions import AzureError

        try:
            pid = os.getpid()
            credential = self._credentials.get(pid) or self._credentials.setdefault(pid, self._make())
            answer = credential.get_token(self._scope)
        except AzureError as error:
            return explain(error)
        except (ValueError, KeyError, TypeError):
            return IdentityUnavailable("bad_answer", "the identity endpoint answered with something that is no token")
        return Token(answer.token, float(answer.expires_on))


def explain(error: Exception) -> IdentityUnavailable:
    """Translate an error of the SDK."""
    return IdentityUnavailable("unreachable")


def managed_identity(
    client_id: str | None = None,
    *,
    object_id: str | None = None,
    resource_id: str | None = None,
    scope: str = POSTGRES_SCOPE,
) -> TokenProvider:
    """Return a provider for the managed identity of this machine, for asyncio."""
    return InThread(sync_managed_identity(client_id, object_id=object_id, resource_id=resource_id, scope=scope))


def sync_managed_identity(
    client_id: str | None = None,
    *,
    object_id: str | None = None,
    resource_id: str | None = None,
    scope: str = POSTGRES_SCOPE,
) -> SyncTokenProvider:
    """Return a provider for the managed identity of this machine, for threads."""
    if sum(name is not None for name in (client_id, object_id, resource_id)) > 1:
        raise CredentialError("name a user-assigned identity by one of client_id, object_id, resource_id")
    identity = _import()
    names = {"object_id": object_id, "resource_id": resource_id}
    config = {name: value for name, value in names.items() if value is not None}

    def make() -> Credential:
        credential: Credential = identity.ManagedIdentityCredential(
            client_id=client_id, identity_config=config or None, **LIMITS
        )
        return credential

    return EntraTokens(make, scope=scope)


def default_credential(*, scope: str = POSTGRES_SCOPE, **options: Any) -> TokenProvider:
    """Return a provider for whoever runs this, for asyncio."""
    return InThread(sync_default_credential(scope=scope, **options))


def sync_default_credential(*, scope: str = POSTGRES_SCOPE, **options: Any) -> SyncTokenProvider:
    """Return a provider for whoever runs this, for threads."""
    identity = _import()

    def make() -> Credential:
        credential: Credential = identity.DefaultAzureCredential(**{**LIMITS, **options})
        return credential

    return EntraTokens(make, scope=scope)


def _import() -> Any:
    try:
        from azure import identity
    except ImportError as error:
        raise missing_extra("azure", "azure-identity") from error
    return identity
