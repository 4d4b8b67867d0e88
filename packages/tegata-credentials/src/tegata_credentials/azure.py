"""Microsoft Entra tokens for Azure Database for PostgreSQL: managed identities, and a developer's own login.

The SDK is used through its blocking credentials, in a thread of the kit's own (`threads.InThread`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from tegata_credentials.azure_errors import Answers, explain
from tegata_credentials.errors import CredentialError, IdentityUnavailable, missing_extra
from tegata_credentials.threads import InThread
from tegata_credentials.token_state import Token

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken

    from tegata_credentials.sync_tokens import SyncTokenProvider
    from tegata_credentials.tokens import TokenProvider

POSTGRES_SCOPE = "https://ossrdbms-aad.database.windows.net/.default"
"""The audience of a token for Azure Database for PostgreSQL (Azure documentation, "Microsoft Entra authentication")."""

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
"""Options of azure-core, in seconds: one retry, and no long attempts. With the SDK's own defaults a token took from 5
to 75 seconds to fail; the source tries again by itself, and readiness must not hang."""

# Beside the browser, which is left out by default: what starts a slow program or asks a person.
_LEFT_OUT = {
    "exclude_broker_credential": True,
    "exclude_powershell_credential": True,
    "exclude_shared_token_cache_credential": True,
    "exclude_visual_studio_code_credential": True,
    "process_timeout": 6,
}


class Credential(Protocol):
    """What is used of an azure-identity credential."""

    def get_token(self, *scopes: str) -> AccessToken:
        """Obtain a token."""

    def close(self) -> None:
        """Close connections."""


@dataclass(slots=True, eq=False)
class _Slot:
    """The credential of one process: a forked one must not share its connections."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    credential: Credential | None = None
    last: bytes = b""  # a digest of the token given last


class EntraTokens:
    """Obtains tokens from an azure-identity credential, which `make` makes when it is first needed.

    A credential keeps its token until shortly before the announced end and cannot be told to forget it; so `discard`
    makes a new one. The same after a failure: the SDK would repeat some failures from memory. `make` is given the
    options to hand to the credential. Without the extra `azure`: `CredentialError`.
    """

    def __init__(self, make: Callable[[dict[str, Any]], Credential], *, scope: str = POSTGRES_SCOPE) -> None:
        _import()
        self._make = make
        self._scope = scope
        self._slots: dict[int, _Slot] = {}

    def __repr__(self) -> str:
        return f"EntraTokens(scope={self._scope!r})"

    def fetch(self) -> Token:
        """Obtain a token. Raises `IdentityUnavailable`, without the SDK's text, which may repeat an answer."""
        outcome = self._obtain()
        if isinstance(outcome, Token) and self._is_repeated(outcome):
            # The source wants another token, or it would not ask; this one came out of the SDK's memory.
            self.discard()
            outcome = self._obtain()
        if isinstance(outcome, IdentityUnavailable):
            self.discard()
            raise outcome
        self._slot().last = _digest(outcome)
        return outcome

    def discard(self) -> None:
        """Forget the credential and with it everything cached."""
        slot = self._slot()
        with slot.lock:
            credential, slot.credential = slot.credential, None
        if credential is not None:
            credential.close()

    def close(self) -> None:
        """Close the credential."""
        self.discard()

    def _slot(self) -> _Slot:
        pid = os.getpid()
        return self._slots.get(pid) or self._slots.setdefault(pid, _Slot())

    def _is_repeated(self, token: Token) -> bool:
        return self._slot().last == _digest(token)

    def _obtain(self) -> Token | IdentityUnavailable:
        from azure.core.exceptions import AzureError

        answers = Answers()
        try:
            answer = self._credential(answers).get_token(self._scope)
        except AzureError as error:
            return explain(error, answers)
        except (ValueError, KeyError, TypeError, AttributeError):
            # What the SDK makes of an answer that it did not expect; of a missing setting, if nothing has answered.
            return explain(None, answers)
        return Token(answer.token, float(answer.expires_on))

    def _credential(self, answers: Answers) -> Credential:
        slot = self._slot()
        with slot.lock:
            if slot.credential is None:
                slot.credential = self._make({**LIMITS, "raw_response_hook": Answers.hear})
            answers.listen()
            return slot.credential


def _digest(token: Token) -> bytes:
    return sha256(token.value.encode()).digest()


def managed_identity(
    client_id: str | None = None,
    *,
    object_id: str | None = None,
    resource_id: str | None = None,
    scope: str = POSTGRES_SCOPE,
) -> TokenProvider:
    """Return a provider for the managed identity of the machine, for asyncio. See `sync_managed_identity`."""
    return InThread(sync_managed_identity(client_id, object_id=object_id, resource_id=resource_id, scope=scope))


def sync_managed_identity(
    client_id: str | None = None,
    *,
    object_id: str | None = None,
    resource_id: str | None = None,
    scope: str = POSTGRES_SCOPE,
) -> SyncTokenProvider:
    """Return a provider for the managed identity of the machine, for threads.

    Without arguments it is the system-assigned identity; a user-assigned one is named by its client id, by the object
    id of its service principal or by its resource id. App Service, Functions, Container Apps, virtual machines and
    scale sets (IMDS), Kubernetes with workload identity, Arc, Service Fabric and Cloud Shell are told apart by their
    environment variables, as `azure.identity.ManagedIdentityCredential` does. Raises `CredentialError`.
    """
    if sum(name is not None for name in (client_id, object_id, resource_id)) > 1:
        raise CredentialError("name a user-assigned identity by one of client_id, object_id and resource_id")
    names = {"object_id": object_id, "resource_id": resource_id}
    chosen = {name: value for name, value in names.items() if value is not None}

    def make(options: dict[str, Any]) -> Credential:
        credential: Credential = _import().ManagedIdentityCredential(
            client_id=client_id, identity_config=chosen or None, **options
        )
        return credential

    return EntraTokens(make, scope=scope)


def default_credential(*, scope: str = POSTGRES_SCOPE, **options: Any) -> TokenProvider:
    """Return a provider for whoever runs this program, for asyncio. See `sync_default_credential`."""
    return InThread(sync_default_credential(scope=scope, **options))


def sync_default_credential(*, scope: str = POSTGRES_SCOPE, **options: Any) -> SyncTokenProvider:
    """Return a provider for whoever runs this program, for threads: a managed identity, or a developer.

    It tries what `azure.identity.DefaultAzureCredential` tries (a service principal of the environment, workload
    identity, managed identity, `az login`, `azd auth login`), but nothing that opens a window or starts PowerShell.
    `options` are those of that class, for example `managed_identity_client_id`, and go before these choices.
    """

    def make(limits: dict[str, Any]) -> Credential:
        credential: Credential = _import().DefaultAzureCredential(**{**limits, **_LEFT_OUT, **options})
        return credential

    return EntraTokens(make, scope=scope)


def _import() -> Any:
    try:
        from azure import identity
    except ImportError as error:
        raise missing_extra("azure", "azure-identity") from error
    return identity
