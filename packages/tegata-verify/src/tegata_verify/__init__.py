"""Verification of access tokens for resource servers.

Owns: what to trust, the key cache, the token rules, the principal, permissions and challenges. Must not import
`tegata`, `tegata_credentials`, nor, outside `tegata_verify.fastapi`, any web framework.
"""

from __future__ import annotations

from tegata_verify.alb import Alb, AlbCognito, AlbVerifier
from tegata_verify.alb_keys import AlbKeyPolicy
from tegata_verify.bearer import parse_bearer
from tegata_verify.client_certificates import CertificateFormat, ClientCertificates
from tegata_verify.dpop import DpopPolicy
from tegata_verify.errors import (
    AccessError,
    Challenges,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidDpopProof,
    InvalidRequest,
    KeysUnavailable,
    MissingToken,
    Reason,
    Refusal,
    TokenError,
    UseDpopNonce,
    build_refusal,
)
from tegata_verify.guard import Guard, SyncGuard
from tegata_verify.introspection import Introspection, IntrospectionPolicy
from tegata_verify.issuers import Auth0, ClaimPaths, Cognito, EntraId, Generic, Keycloak, Tegata
from tegata_verify.keys import CachePolicy
from tegata_verify.nonces import DpopNonces
from tegata_verify.permissions import Requirement, build_requirement, check_permission
from tegata_verify.policy import AccessPolicy, PolicyError, build_policy
from tegata_verify.principal import Principal
from tegata_verify.proof_memory import LocalProofMemory, ProofMemory, UsedProof
from tegata_verify.protected_resource import ProtectedResource
from tegata_verify.request import HttpRequest
from tegata_verify.sync_verifier import SyncVerifier
from tegata_verify.verifier import Verifier

__all__ = [
    "AccessError",
    "AccessPolicy",
    "Alb",
    "AlbCognito",
    "AlbKeyPolicy",
    "AlbVerifier",
    "Auth0",
    "CachePolicy",
    "CertificateFormat",
    "Challenges",
    "ClaimPaths",
    "ClientCertificates",
    "Cognito",
    "DpopNonces",
    "DpopPolicy",
    "EntraId",
    "Generic",
    "Guard",
    "HttpRequest",
    "InsufficientScope",
    "InsufficientUserAuthentication",
    "Introspection",
    "IntrospectionPolicy",
    "InvalidDpopProof",
    "InvalidRequest",
    "Keycloak",
    "KeysUnavailable",
    "LocalProofMemory",
    "MissingToken",
    "PolicyError",
    "Principal",
    "ProofMemory",
    "ProtectedResource",
    "Reason",
    "Refusal",
    "Requirement",
    "SyncGuard",
    "SyncVerifier",
    "Tegata",
    "TokenError",
    "UseDpopNonce",
    "UsedProof",
    "Verifier",
    "build_policy",
    "build_refusal",
    "build_requirement",
    "check_permission",
    "parse_bearer",
]
