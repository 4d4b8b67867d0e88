"""What to trust, as data: an issuer, where its keys are, and which of its tokens are meant for this service.

One module for each kind of issuer. Rules are frozen records with pure functions; nothing is fetched here.
"""

from __future__ import annotations

from tegata_verify.algorithms import SUPPORTED_ALGORITHMS
from tegata_verify.issuers.addresses import check_url, is_loopback
from tegata_verify.issuers.auth0 import Auth0
from tegata_verify.issuers.cognito import Cognito
from tegata_verify.issuers.entra import EntraId
from tegata_verify.issuers.generic import ClaimPaths, Generic
from tegata_verify.issuers.keycloak import Keycloak
from tegata_verify.issuers.tegata import Tegata

__all__ = [
    "SUPPORTED_ALGORITHMS",
    "Auth0",
    "ClaimPaths",
    "Cognito",
    "EntraId",
    "Generic",
    "Keycloak",
    "Tegata",
    "check_url",
    "is_loopback",
]
