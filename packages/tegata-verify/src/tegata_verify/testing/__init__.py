"""Issuers, load balancers, keys and certificates for users' own tests: real signatures, no network.

Owns: tokens in the shape of each issuer, flawed ones, bound ones. Must not import any web framework.
"""

from __future__ import annotations

from tegata_verify.alb_testing import TestAlb
from tegata_verify.testing.holders import TestCertificate, TestDpopKey
from tegata_verify.testing.issuer import TestIssuer, build_verifier
from tegata_verify.testing.wishes import Flaw, Wish

__all__ = ["Flaw", "TestAlb", "TestCertificate", "TestDpopKey", "TestIssuer", "Wish", "build_verifier"]
