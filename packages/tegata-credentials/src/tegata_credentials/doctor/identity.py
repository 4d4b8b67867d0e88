"""Whether a token can be had here, and if not, which part of the surroundings is missing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from tegata_credentials.doctor.report import Check, failed, ok
from tegata_credentials.errors import CredentialError, IdentityUnavailable
from tegata_credentials.settings import DatabaseSettings
from tegata_credentials.tokens import TokenSource

METADATA_SERVICE = "http://169.254.169.254"
_ADDRESSES = ("IDENTITY_ENDPOINT", "AZURE_POD_IDENTITY_AUTHORITY_HOST")
# Where the platform sets the first, it sets the second with it.
_PAIRS = (
    ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"),
    ("IDENTITY_HEADER", "IDENTITY_ENDPOINT"),
    ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID"),
    ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_ID"),
)


async def take_token(
    settings: DatabaseSettings, environ: Mapping[str, str], *, metadata_service: str = METADATA_SERVICE
) -> tuple[Check, str | None]:
    """Ask for one token; the answer to the question, and the token if there is one."""
    try:
        provider = settings.token_provider()
    except CredentialError as error:
        # Made before anything is asked for: the text is ours, and there is no token yet.
        return failed("identity", "kit_incomplete", problem=str(error)), None
    # Through a source, which bounds the time and hides what a provider's own exceptions may quote.
    source = TokenSource(provider, auth_method=settings.auth)
    try:
        token = await source.current()
    except IdentityUnavailable as error:
        return await _explain(settings, environ, error.reason, metadata_service), None
    finally:
        await source.close()
    return ok("identity", "there is an identity, and a token for it"), token


def identity_address(environ: Mapping[str, str], metadata_service: str = METADATA_SERVICE) -> str:
    """Return where the identity endpoint of Azure is, as the SDK would find it."""
    return next((environ[variable] for variable in _ADDRESSES if environ.get(variable)), metadata_service)


async def _explain(settings: DatabaseSettings, environ: Mapping[str, str], why: str, metadata_service: str) -> Check:
    if settings.auth == "aws_iam":
        return failed("identity", "aws_credentials_missing", why=why)
    for present, absent in _PAIRS:
        if environ.get(present) and not environ.get(absent):
            return failed("identity", "identity_endpoint_incomplete", present=present, absent=absent)
    assertion = environ.get("AZURE_FEDERATED_TOKEN_FILE")
    if assertion:
        if not await asyncio.to_thread(os.path.exists, assertion):
            return failed("identity", "assertion_missing")
    elif not await _answers(identity_address(environ, metadata_service)):
        named = next((variable for variable in _ADDRESSES if environ.get(variable)), None)
        if named is not None:
            return failed("identity", "identity_endpoint_silent", variable=named)
        return failed("identity", "identity_endpoint_missing")
    return failed("identity", "identity_unavailable", why=why)


async def _answers(address: str) -> bool:
    """Whether anything listens there; outside Azure the metadata address leads nowhere."""
    with suppress(OSError, ValueError, TimeoutError):
        parts = urlsplit(address)
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
            writer.transport.abort()
            return True
    return False
