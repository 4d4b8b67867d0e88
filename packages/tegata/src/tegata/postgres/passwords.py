"""Sources of passwords for logins that have none of their own, one for each host, port and user.

A token of AWS is signed for one host, port and user; a token of Azure is good for all, but who is refused as one role
must not drop what works for another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tegata_credentials.aws import RdsIamTokens, SyncRdsIamTokens
from tegata_credentials.azure import (
    default_credential,
    managed_identity,
    sync_default_credential,
    sync_managed_identity,
)
from tegata_credentials.database import PasswordSource, SyncPasswordSource
from tegata_credentials.environment import is_named_by_rds
from tegata_credentials.errors import CredentialError
from tegata_credentials.sync_tokens import SyncTokenSource
from tegata_credentials.tokens import SyncTokenProvider, TokenProvider, TokenSource

TokenMethod = Literal["managed_identity", "aws_iam"]
_Key = tuple[str, int, str]


@dataclass(frozen=True, slots=True)
class Identity:
    """As whom to ask for tokens, where the environment leaves it open."""

    azure_client_id: str | None = None  # a user-assigned identity
    aws_region: str | None = None  # where the endpoint's name does not say it
    aws_endpoint: str | None = None  # the name that AWS knows, for hosts of other names
    azure_default: bool = False  # whoever runs this, as the Azure SDK finds out: a developer after `az login`

    def of_azure(self) -> TokenProvider:
        """Make a provider of Azure's tokens."""
        return default_credential(**self._named()) if self.azure_default else managed_identity(self.azure_client_id)

    def sync_of_azure(self) -> SyncTokenProvider:
        """Make the same for a command."""
        if self.azure_default:
            return sync_default_credential(**self._named())
        return sync_managed_identity(self.azure_client_id)

    def _named(self) -> dict[str, str]:
        return {} if self.azure_client_id is None else {"managed_identity_client_id": self.azure_client_id}


class IssuedPasswords:
    """Tokens of a cloud's identity service. Implements `target.Passwords`. Belongs to one event loop."""

    def __init__(
        self,
        method: TokenMethod,
        identity: Identity | None = None,
        *,
        allow_unverified_tls: bool = False,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` and `ticks` are those of the sources for asyncio (`TokenSource`)."""
        self.auth_method = method
        self.allow_unverified_tls = allow_unverified_tls
        self._identity = identity or Identity()
        self._clock = clock
        self._ticks = ticks
        self._sources: dict[_Key, TokenSource] = {}
        self._sync_sources: dict[_Key, SyncTokenSource] = {}

    def source(self, host: str, port: int, user: str) -> PasswordSource:
        """Return the source for one login; the same object each time."""
        key = (host, port, user)
        if key not in self._sources:
            region, endpoint = self._signed_for(host)
            provider = (
                RdsIamTokens(host=host, port=port, user=user, region=region, sign_for_host=endpoint)
                if self.auth_method == "aws_iam"
                else self._identity.of_azure()
            )
            self._sources[key] = TokenSource(
                provider, auth_method=self.auth_method, clock=self._clock, ticks=self._ticks
            )
        return self._sources[key]

    def sync_source(self, host: str, port: int, user: str) -> SyncPasswordSource:
        """Return the source for one login of a command."""
        key = (host, port, user)
        if key not in self._sync_sources:
            region, endpoint = self._signed_for(host)
            provider = (
                SyncRdsIamTokens(host=host, port=port, user=user, region=region, sign_for_host=endpoint)
                if self.auth_method == "aws_iam"
                else self._identity.sync_of_azure()
            )
            self._sync_sources[key] = SyncTokenSource(provider, auth_method=self.auth_method)
        return self._sync_sources[key]

    def _signed_for(self, host: str) -> tuple[str | None, str | None]:
        """Return region and name to sign for, where a host's name does not say both (writer and reader have theirs).

        Raises `CredentialError` if AWS would not know the host.
        """
        if is_named_by_rds(host):
            return None, None
        if self.auth_method == "aws_iam" and self._identity.aws_endpoint is None:
            raise CredentialError(
                f"{host} is not a name that RDS gives, and a token holds for the real one: set "
                "TEGATA_DATABASE_AWS_ENDPOINT to that"
            )
        return self._identity.aws_region, self._identity.aws_endpoint

    async def close(self) -> None:
        """Forget every token and give back what the providers hold."""
        for source in self._sources.values():
            await source.close()
        for sync_source in self._sync_sources.values():
            sync_source.close()
        self._sources.clear()
        self._sync_sources.clear()
