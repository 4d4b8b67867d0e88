"""Tenants of a Tegata server: plain RFC 9068."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tegata_verify.issuers.generic import Generic


@dataclass(frozen=True, slots=True)
class Tegata(Generic):
    """A tenant of a Tegata server; the issuer is `{base}/{tenant}`.

    >>> Tegata("https://id.example.com/demo", audiences=["beer-service"]).find_tenant({})
    'demo'
    """

    def __post_init__(self) -> None:
        if not self.issuer:
            raise ValueError("issuer: of a Tegata server it is always known")
        Generic.__post_init__(self)

    def find_tenant(self, claims: Mapping[str, Any]) -> str | None:
        """Return the last segment of the issuer's path; a tenant with a host name of its own has none."""
        return urlsplit(self.issuer).path.rstrip("/").rpartition("/")[2] or None
