"""An issuer for tests: real keys, real tokens, no network."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from typing import Any, Unpack

import httpx2
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tegata_verify.client.authentication import ClientSecret
from tegata_verify.introspection import Introspection, IntrospectionPolicy
from tegata_verify.issuers import Generic, Tegata
from tegata_verify.keys import CachePolicy, Clock
from tegata_verify.testing import shapes
from tegata_verify.testing.answers import Published, Register
from tegata_verify.testing.wishes import Flaw, Wish
from tegata_verify.tokens import SignatureRegistry
from tegata_verify.verifier import Verifier

_HOUR_SECONDS = 3600
_PATIENCE_SECONDS = 60  # no network can fail here, but a busy machine may stop a test for seconds
_PATIENT = CachePolicy(timeout=_PATIENCE_SECONDS)
_STRANGER = "https://mallory.example"
_OF_CLAIMS = frozenset({Flaw.EXPIRED, Flaw.NOT_YET_VALID, Flaw.OTHER_AUDIENCE, Flaw.OTHER_CLIENT, Flaw.OTHER_ISSUER})

SigningKey = ECKey | RSAKey | OKPKey


class TestIssuer:
    """Mints access tokens with a key made when it is made: as Tegata does, or `of(rules)` as your own issuer does.

    `issuer.verifier()` is a `Verifier` that takes the keys from here, through the same code as in production but
    without a socket. Several issuers: `build_verifier(first, second)`. With `publishes_next` a second key is published
    ahead of its time, as issuers do, so that a token must say which one has signed it. While `reachable` is False the
    issuer answers nothing, and a new verifier can have no keys.

    >>> issuer = TestIssuer()
    >>> list(issuer.headers(scope="read", roles=["viewer"]))
    ['Authorization']
    """

    __test__ = False  # for pytest this is no test class, whatever its name

    def __init__(
        self,
        issuer: str = "https://issuer.test/demo",
        *,
        audience: str = "https://api.test",
        algorithm: str = "ES256",
        clock: Clock = time.time,
        rules: Generic | None = None,
        publishes_next: bool = True,
    ) -> None:
        self.issuer = issuer
        self.audience = audience
        self.algorithm = algorithm
        self.clock = clock
        self.reachable = True
        self._register = Register()
        self._rules = rules
        self._keys: list[SigningKey] = []
        self._next = [ECKey.generate_key("P-256", {"kid": f"next-{time.time_ns()}"})] if publishes_next else []
        self.rotate()

    @classmethod
    def of(cls, rules: Generic, *, clock: Clock = time.time) -> TestIssuer:
        """Return an issuer whose tokens have the shape and pass the rules that a service has in production.

        >>> from tegata_verify import Cognito
        >>> pool = TestIssuer.of(Cognito("eu-west-1", "eu-west-1_Ab12Cd34E", client_ids=["4hk2m1s3example"]))
        >>> pool.issuer
        'https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12Cd34E'
        """
        return cls(
            shapes.find_issuer(rules),
            audience=shapes.find_audience(rules),
            algorithm=shapes.find_algorithm(rules),
            clock=clock,
            rules=rules,
        )

    @property
    def rules(self) -> Generic:
        """What a verifier must be told to trust this issuer."""
        return self._rules or Tegata(self.issuer, {self.audience}, allow_loopback_http=True)

    @property
    def introspection_url(self) -> str:
        """Where the issuer is asked about tokens."""
        return f"{self.issuer.rstrip('/')}/introspect"

    @property
    def client_id(self) -> str:
        """The client to which tokens are issued if none is asked for."""
        return shapes.find_client(self.rules)

    @property
    def flaws(self) -> tuple[Flaw, ...]:
        """What can be wrong with a token of this issuer, to let a test try it all.

        >>> [flaw.value for flaw in Flaw if flaw not in TestIssuer().flaws]
        ['other_client']
        """
        rules, harmless = self.rules, set()
        if not rules.client_ids:
            harmless.add(Flaw.OTHER_CLIENT)
        if not rules.accepted_issuers:
            harmless.add(Flaw.OTHER_ISSUER)
        if len(self._keys) + len(self._next) == 1:
            harmless.add(Flaw.NO_KID)
        return tuple(flaw for flaw in Flaw if flaw not in harmless)

    @property
    def key(self) -> SigningKey:
        """The private key that signs now."""
        return self._keys[-1]

    def rotate(self, *, withdraw: bool = False) -> None:
        """Sign with a new key from now on; with `withdraw` the old ones are no longer published."""
        if withdraw:
            self._keys.clear()
        name = f"key-{time.time_ns()}-{len(self._keys)}"
        self._keys.append(_generate_key(self.algorithm, name))

    def mint(self, **wish: Unpack[Wish]) -> str:
        """Return a signed access token; what can be wished for, see `Wish`.

        >>> issuer = TestIssuer()
        >>> token = issuer.mint(subject="user-7", scope="read", roles=["viewer"], claims={"department": "beer"})
        >>> expired = issuer.mint(scope="read", flaw="expired")

        Raises `ValueError` for what the tokens of this issuer have no place for, and for a flaw that would pass.
        """
        asked, holder = wish.get("flaw"), wish.get("bound_to")
        flaw = None if asked is None else Flaw(asked)
        if flaw is not None and flaw not in self.flaws:
            raise ValueError(f"flaw: the rules of this issuer let `{flaw}` pass")
        wanted, is_access = self._read(wish), flaw is not Flaw.ID_TOKEN
        claims = (shapes.build_claims if is_access else shapes.build_id_token_claims)(self.rules, wanted)
        claims["iss"] = self.issuer
        typ = shapes.build_type(self.rules) if is_access else "JWT"
        header: dict[str, Any] = {"alg": self.algorithm, "typ": typ, "kid": self.key.kid}
        if holder is not None:
            claims["cnf"] = dict(holder.confirmation)
        key = self._spoil(flaw, header, claims)
        claims = _laid_over(claims, wish.get("claims"))
        if wish.get("opaque"):
            if flaw is not None and flaw not in _OF_CLAIMS:
                raise ValueError(f"flaw: no opaque token is `{flaw}`")
            return self._register.make_opaque(claims)
        token = _sign(_laid_over(header, wish.get("header")), claims, key)
        if flaw is None:
            self._register.keep(token, claims)
        return token

    def headers(self, **wish: Unpack[Wish]) -> dict[str, str]:
        """Return the headers of a request with a bearer token, for any test client.

        >>> sorted(TestIssuer().headers(scope="read"))
        ['Authorization']
        """
        return {"Authorization": f"Bearer {self.mint(**wish)}"}

    def revoke(self, token: str) -> None:
        """Take a token back, as RFC 7009 has it: who asks about it is told so."""
        self._register.forget(token)

    def introspect(self, token: str) -> dict[str, Any]:
        """Return what the issuer says of a token. RFC 7662 §2.2."""
        return self._register.answer(token, now=self.clock())

    def introspection(self, *, confirm_jwts: bool = False, policy: IntrospectionPolicy | None = None) -> Introspection:
        """Return what asks this issuer about tokens, for a `Guard`.

        >>> issuer = TestIssuer()
        >>> asking = issuer.introspection()
        >>> asking.is_opaque(issuer.mint(opaque=True)), asking.is_opaque(issuer.mint())
        (True, False)
        """
        return Introspection(
            self.rules,
            ClientSecret(self.client_id, "not looked at"),
            url=self.introspection_url,
            confirm_jwts=confirm_jwts,
            policy=policy or IntrospectionPolicy(timeout=_PATIENCE_SECONDS),
            transport=self.transport,
            clock=self.clock,
        )

    def jwks(self) -> dict[str, Any]:
        """Return the public keys, as the issuer's `jwks_uri` would."""
        keys = [*((key, self.algorithm) for key in self._keys), *((key, "ES256") for key in self._next)]
        more = shapes.build_key_members(self.rules)
        return {"keys": [{**key.as_dict(private=False, alg=name, use="sig"), **more} for key, name in keys]}

    def documents(self) -> dict[str, dict[str, Any]]:
        """Return what the issuer publishes, by address."""
        rules = self.rules
        jwks_uri = shapes.find_jwks_uri(rules)
        if rules.jwks_uri is not None:
            return {jwks_uri: self.jwks()}
        metadata = {
            "issuer": rules.metadata_issuer,
            "jwks_uri": jwks_uri,
            "introspection_endpoint": self.introspection_url,
        }
        return {rules.metadata_url: metadata, jwks_uri: self.jwks()}

    def transport(self) -> httpx2.AsyncBaseTransport:
        """Return an HTTP transport that answers as this issuer's server would, for a `Verifier` of your own."""
        return Published((self,))

    def verifier(self, *rules: Generic, cache_policy: CachePolicy | None = None) -> Verifier:
        """Return a verifier bound to this issuer, after `rules` if given and else after `self.rules`."""
        return Verifier(
            *(rules or (self.rules,)),
            transport=self.transport,
            clock=self.clock,
            cache_policy=cache_policy or _PATIENT,
        )

    def _read(self, wish: Wish) -> shapes.Wanted:
        now, scope, audience = int(self.clock()), wish.get("scope", ""), wish.get("audience")
        return shapes.Wanted(
            subject=wish.get("subject", "user-1"),
            client_id=wish.get("client_id") or self.client_id,
            scope=scope if isinstance(scope, str) else " ".join(scope),
            roles=tuple(wish.get("roles", ())),
            permissions=tuple(wish.get("permissions", ())),
            audience=self.audience if audience is None else audience,
            issued=now,
            expires=int(now + wish.get("lifetime_seconds", 300)),
            is_service=wish.get("service", False),
        )

    def _spoil(self, flaw: Flaw | None, header: dict[str, Any], claims: dict[str, Any]) -> SigningKey | None:
        """Put the flaw in, and return the key to sign with; None for no signature."""
        now = int(self.clock())
        if flaw is Flaw.EXPIRED:
            claims |= {"iat": now - 2 * _HOUR_SECONDS, "exp": now - _HOUR_SECONDS}
        elif flaw is Flaw.NOT_YET_VALID:
            claims["nbf"] = now + _HOUR_SECONDS
            claims["exp"] += _HOUR_SECONDS
        elif flaw is Flaw.OTHER_AUDIENCE:
            claims["aud"] = f"{_STRANGER}/api"
        elif flaw is Flaw.OTHER_CLIENT:
            shapes.put_client(self.rules, claims, "somebody-else")
        elif flaw is Flaw.OTHER_ISSUER:
            claims["iss"] = _STRANGER
        elif flaw is Flaw.NO_KID:
            del header["kid"]
        elif flaw is Flaw.WRONG_SIGNATURE:
            return _generate_key(self.algorithm, str(header["kid"]))
        elif flaw is Flaw.UNKNOWN_KEY:
            header["kid"] = f"unpublished-{time.time_ns()}"
            return _generate_key(self.algorithm, header["kid"])
        elif flaw is Flaw.UNSIGNED:
            header["alg"] = "none"
            return None
        return self.key


def build_verifier(*issuers: TestIssuer, clock: Clock = time.time) -> Verifier:
    """Return a verifier that trusts several test issuers."""
    return Verifier(
        *(issuer.rules for issuer in issuers),
        transport=lambda: Published(issuers),
        clock=clock,
        cache_policy=_PATIENT,
    )


def _generate_key(algorithm: str, kid: str) -> SigningKey:
    if algorithm == "ES256":
        return ECKey.generate_key("P-256", {"kid": kid})
    if algorithm in ("EdDSA", "Ed25519"):
        return OKPKey.generate_key("Ed25519", {"kid": kid})
    return RSAKey.generate_key(2048, {"kid": kid})


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in {**under, **(over or {})}.items() if value is not None}


def _sign(header: dict[str, Any], payload: dict[str, Any], key: SigningKey | None) -> str:
    if key is None:
        return f"{_segment(header)}.{_segment(payload)}."
    return jws.serialize_compact(header, json.dumps(payload), key, registry=SignatureRegistry())


def _segment(members: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(members).encode()).rstrip(b"=").decode()
