"""A load balancer written for these tests alone: it signs with cryptography, in the format that AWS documents."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tegata_verify.alb import Alb, AlbVerifier
from tegata_verify.alb_keys import AlbKeyPolicy

ARN = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
OTHER_ARN = "arn:aws:elasticloadbalancing:eu-central-1:444455556666:loadbalancer/app/front/50dc6c495c0c9188"
ISSUER = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"
CLIENT = "1example23456789"
KID = "0a1b2c3d-4e5f-4a6b-8c7d-0123456789ab"


def padded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


def segment(members: Any) -> str:
    return padded(members if isinstance(members, bytes) else json.dumps(members, separators=(",", ":")).encode())


@dataclass
class Balancer:
    """Signs as the load balancer would, or nearly."""

    now: float
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))

    @property
    def pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def header(self, **changes: Any) -> dict[str, Any]:
        # The order of the members is that of a real one.
        members = {
            "typ": "JWT",
            "kid": KID,
            "alg": "ES256",
            "iss": ISSUER,
            "client": CLIENT,
            "signer": ARN,
            "exp": int(self.now) + 120,
        }
        return {name: value for name, value in {**members, **changes}.items() if value is not ...}

    def claims(self, **changes: Any) -> dict[str, Any]:
        members = {
            "sub": "user-1",
            "email_verified": "true",
            "name": "Zoë +/=-_ ~",
            "email": "user-1@example.com",
            "username": "user-1",
            "exp": int(self.now) + 120,
            "iss": ISSUER,
        }
        return {name: value for name, value in {**members, **changes}.items() if value is not ...}

    def sign(self, header: Any = None, claims: Any = None, key: EllipticCurvePrivateKey | None = None) -> str:
        first = segment(self.header() if header is None else header)
        text = f"{first}.{segment(self.claims() if claims is None else claims)}"
        return f"{text}.{self.signature(text, key)}"

    def signature(self, text: str, key: EllipticCurvePrivateKey | None = None) -> str:
        r, s = decode_dss_signature((key or self.key).sign(text.encode(), ECDSA(SHA256())))
        return padded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


@pytest.fixture
def balancer(clock) -> Balancer:
    return Balancer(clock.now)


@pytest.fixture
def rules(server) -> Alb:
    return Alb(
        [ARN],
        ISSUER,
        [CLIENT],
        trusted_peers=["10.0.0.0/24"],
        key_url=f"{server.base}/{{region}}/{{kid}}",
        allow_loopback_http=True,
    )


@pytest.fixture
def publish(server, answer):
    """Put an answer where the key of a name is looked for."""

    def put(content: Any, kid: str = KID, **how: Any) -> str:
        path = f"/eu-central-1/{kid}"
        server.answers[path] = answer(content, **how)
        return path

    return put


@pytest.fixture
def alb(rules, clock):
    """Build a verifier of the load balancer's tokens; seconds of the policy may be given."""

    def build(changed: Alb | None = None, **policy: Any) -> AlbVerifier:
        patient = AlbKeyPolicy(**{"timeout": 60, **policy})
        return AlbVerifier(changed or rules, clock=clock, key_policy=patient)

    return build
