"""A load balancer for tests: logs users of a `TestIssuer` in, and adds the headers that a real one would."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tegata_verify.alb import Alb, AlbVerifier
from tegata_verify.alb_keys import AlbKeyPolicy

if TYPE_CHECKING:
    from tegata_verify.testing import TestIssuer

_ARN = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"


class TestAlb:
    """Mints what an Application Load Balancer sends of a user, with a key made when it is made.

    `peer` is the address its connections come from. Several at one service: give each an `arn` of its own.

    >>> from tegata_verify.testing import TestIssuer
    >>> alb = TestAlb(TestIssuer())
    >>> [name for name, _ in alb.mint_headers(scope="read")]
    ['x-amzn-oidc-accesstoken', 'x-amzn-oidc-identity', 'x-amzn-oidc-data']
    """

    __test__ = False  # for pytest this is no test class, whatever its name

    def __init__(
        self,
        issuer: TestIssuer,
        *,
        arn: str = _ARN,
        client_id: str | None = None,
        peer: str = "10.0.0.7",
        rules: Alb | None = None,
    ) -> None:
        self.issuer = issuer
        self.arn = arn
        self.client_id = client_id or issuer.client_id
        self.peer = peer
        self.fetches = 0
        self._rules = rules
        self._published: dict[str, bytes] = {}
        self.rotate()

    @classmethod
    def of(cls, rules: Alb, issuer: TestIssuer) -> TestAlb:
        """Return a load balancer that passes the rules which a service has in production: the first that they name.

        >>> from tegata_verify.alb import AlbCognito
        >>> from tegata_verify.issuers import Cognito
        >>> from tegata_verify.testing import TestIssuer
        >>> pool = TestIssuer.of(Cognito("eu-central-1", "eu-central-1_Ab12Cd34E", client_ids=["web"]))
        >>> rules = AlbCognito([_ARN], "eu-central-1_Ab12Cd34E", ["web"], trusted_peers=["10.0.16.0/20"])
        >>> TestAlb.of(rules, pool).peer
        '10.0.16.1'
        """
        network = min(rules.networks, key=str)
        peer = network[1 if network.num_addresses > 1 else 0]
        return cls(issuer, arn=min(rules.alb_arns), client_id=min(rules.client_ids), peer=str(peer), rules=rules)

    @property
    def rules(self) -> Alb:
        """What a verifier must be told to trust this load balancer."""
        return self._rules or Alb(
            [self.arn], self.issuer.issuer, [self.client_id], trusted_peers=[self.peer], allow_loopback_http=True
        )

    @property
    def key_url(self) -> str:
        """Where the key that signs now is published."""
        return self.rules.build_key_url(self.arn, self.kid)

    def rotate(self, *, withdraw: bool = False) -> None:
        """Sign with a new key from now on; with `withdraw` the old ones are no longer published."""
        if withdraw:
            self._published.clear()
        self.kid = str(uuid.uuid4())
        self._key = generate_private_key(SECP256R1())
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._published[self.key_url] = pem

    def mint_headers(
        self,
        *,
        subject: str = "user-1",
        scope: str | Collection[str] = (),
        roles: Collection[str] = (),
        claims: Mapping[str, Any] | None = None,
    ) -> list[tuple[str, str]]:
        """Return the three headers of a request by `subject`; `claims` are laid over what is said of the user."""
        token = self.issuer.mint(subject=subject, client_id=self.client_id, scope=scope, roles=roles)
        return [
            ("x-amzn-oidc-accesstoken", token),
            ("x-amzn-oidc-identity", subject),
            ("x-amzn-oidc-data", self.mint_data(subject=subject, claims=claims)),
        ]

    def mint_data(
        self,
        *,
        subject: str = "user-1",
        lifetime_seconds: float = 120,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a signed `x-amzn-oidc-data`. `claims` and `header` are laid over the rest; None takes one away."""
        expires = int(self.issuer.clock() + lifetime_seconds)
        protected = {
            "typ": "JWT",
            "kid": self.kid,
            "alg": "ES256",
            "iss": self.issuer.issuer,
            "client": self.client_id,
            "signer": self.arn,
            "exp": expires,
        }
        user = {"sub": subject, "email": f"{subject}@example.com", "exp": expires, "iss": self.issuer.issuer}
        signed = f"{_segment(protected, header)}.{_segment(user, claims)}"
        r, s = decode_dss_signature(self._key.sign(signed.encode(), ECDSA(SHA256())))
        return f"{signed}.{base64.urlsafe_b64encode(r.to_bytes(32) + s.to_bytes(32)).decode()}"

    def transport(self) -> httpx2.AsyncBaseTransport:
        """Return an HTTP transport that answers as the address of the keys would; `fetches` counts its requests."""
        return _PublishedKeys(self)

    def find_published(self, url: str) -> bytes | None:
        """Return the key at `url` in PEM, None if there is none."""
        return self._published.get(url)

    def verifier(self, rules: Alb | None = None, *, key_policy: AlbKeyPolicy | None = None) -> AlbVerifier:
        """Return what takes this load balancer's word, after `rules` if given and else after `self.rules`."""
        return AlbVerifier(
            rules or self.rules,
            transport=self.transport,
            clock=self.issuer.clock,
            key_policy=key_policy or AlbKeyPolicy(timeout=60),  # no network can fail, but a busy machine may stop us
        )


class _PublishedKeys(httpx2.AsyncBaseTransport):
    def __init__(self, alb: TestAlb) -> None:
        self._alb = alb

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._alb.fetches += 1
        pem = self._alb.find_published(str(request.url))
        return httpx2.Response(403) if pem is None else httpx2.Response(200, content=pem)


def _segment(under: Mapping[str, Any], over: Mapping[str, Any] | None) -> str:
    members = {name: value for name, value in {**under, **(over or {})}.items() if value is not None}
    return base64.urlsafe_b64encode(json.dumps(members).encode()).decode()
