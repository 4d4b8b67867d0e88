"""Tokens for calls to other services: client credentials, token exchange, and authentication for HTTP clients.

Owns: token requests, what is kept of their answers, and where a token may be sent. `tegata_verify.client.httpx2` and
`tegata_verify.client.requests` hold the clients' own parts. Must not import a web framework.
"""

from __future__ import annotations

from tegata_verify.client.authentication import (
    Addressee,
    ClientAuthentication,
    ClientSecret,
    PrivateKeyJwt,
    Proof,
    TlsClientAuth,
)
from tegata_verify.client.certificates import CertificateFiles
from tegata_verify.client.dpop import DpopKey
from tegata_verify.client.endpoint import AuthorizationServer
from tegata_verify.client.errors import Obstacle, TokenUnavailable
from tegata_verify.client.flights import Surroundings
from tegata_verify.client.records import AccessToken, TokenPolicy, Wanted
from tegata_verify.client.sources import ClientCredentials, TokenExchange, TokenSource

__all__ = [
    "AccessToken",
    "Addressee",
    "AuthorizationServer",
    "CertificateFiles",
    "ClientAuthentication",
    "ClientCredentials",
    "ClientSecret",
    "DpopKey",
    "Obstacle",
    "PrivateKeyJwt",
    "Proof",
    "Surroundings",
    "TlsClientAuth",
    "TokenExchange",
    "TokenPolicy",
    "TokenSource",
    "TokenUnavailable",
    "Wanted",
]
