"""Asks the issuer what a token means, and whether it is still good (RFC 7662): for opaque and for revoked tokens."""

from __future__ import annotations

import base64
import hashlib
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tegata_verify.claims import numeric_date
from tegata_verify.client.authentication import ClientAuthentication
from tegata_verify.errors import KeysUnavailable, Reason, TokenError
from tegata_verify.introspection_endpoint import IntrospectionEndpoint, Limits, NoAnswer
from tegata_verify.issuers import Generic
from tegata_verify.keys import Clock, is_within
from tegata_verify.outgoing import TransportFactory
from tegata_verify.principal import Principal, build_principal
from tegata_verify.single_flight import SingleFlight
from tegata_verify.tokens import VerifiedClaims, check_claims

_log = logging.getLogger(__name__)

_TOKEN_TYPES = frozenset({"bearer", "dpop"})
_MAX_RETRY_AFTER_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionPolicy:
    """How long answers are kept, and how often the issuer may be asked; seconds throughout.

    A revoked token stays good for `active` at most. `stale` is for how much longer an answer serves while the issuer
    does not answer; with 0 the request is refused with 503. No answer outlives its token. After a failure the issuer
    is left alone for `retry`.

    >>> IntrospectionPolicy(active=30).stale
    0
    """

    active: float = 60
    inactive: float = 10
    stale: float = 0
    retry: float = 2
    timeout: float = 5
    tokens_kept: int = 4096
    inactive_kept: int = 4096
    max_questions: int = 64
    max_bytes: int = 64 * 1024
    max_token_bytes: int = 16 * 1024


@dataclass(frozen=True, slots=True)
class _Known:
    """What was answered; `refused` says why the token is not good here, `principal` who acts with an opaque one."""

    since: float
    expires: float
    principal: Principal | None = None
    refused: Reason | None = None
    detail: str = ""

    def give(self) -> Principal | None:
        if self.refused is not None:
            raise TokenError(self.refused, self.detail)
        return self.principal


class Introspection:
    """Asks one issuer about tokens. Make one for the process and give it to `Guard(verifier, introspection=…)`.

    `rules` are the issuer's: audience, issuer and required claims hold for answers as for JWTs. The answer need not
    repeat `iss`. An answer without `aud` is refused, unless `trust_missing_audience` says that the issuer answers for
    tokens of this service alone. `authentication` is one of `tegata_verify.client`: `ClientSecret`, `PrivateKeyJwt`,
    `TlsClientAuth`. `url` is found through the issuer's metadata where it is not given.

    Tokens that are no JWTs are judged by the issuer's answer alone. With `confirm_jwts` the issuer is also asked about
    each JWT of its own that was verified here, so that a revoked one is noticed after `policy.active` seconds.

    >>> from tegata_verify import Tegata
    >>> from tegata_verify.client.authentication import ClientSecret
    >>> rules = Tegata("https://id.example.com/demo", audiences=["beer-service"])
    >>> introspection = Introspection(rules, ClientSecret("beer-service", "a secret"), confirm_jwts=True)
    >>> introspection.is_opaque("mF_9.B5f-4.1JqM"), introspection.is_opaque("eyJhbGciOiJFUzI1NiJ9.e30.c2ln")
    (True, False)
    """

    def __init__(
        self,
        rules: Generic,
        authentication: ClientAuthentication,
        *,
        url: str | None = None,
        confirm_jwts: bool = False,
        trust_missing_audience: bool = False,
        policy: IntrospectionPolicy | None = None,
        transport: TransportFactory | None = None,
        clock: Clock = time.time,
    ) -> None:
        if not rules.issuer:
            raise ValueError("rules: introspection needs an issuer with a name")
        self.rules = rules
        self._confirm_jwts = confirm_jwts
        self._trust_missing_audience = trust_missing_audience
        self._policy = policy or IntrospectionPolicy()
        limits = Limits(self._policy.timeout, self._policy.max_bytes)
        self._endpoint = IntrospectionEndpoint(
            rules, authentication, url=url, limits=limits, transport=transport, clock=clock
        )
        self._clock = clock
        # Apart, so that made-up tokens do not drive out what is known of good ones.
        self._good: OrderedDict[bytes, _Known] = OrderedDict()
        self._bad: OrderedDict[bytes, _Known] = OrderedDict()
        self._flights: SingleFlight[bytes, _Known] = SingleFlight()
        self._failed: tuple[float, float] | None = None

    def is_opaque(self, token: str) -> bool:
        """Tell whether only the issuer can say what this token means: it is no JWS. RFC 7515 §7.1."""
        segments = token.split(".")
        return len(segments) != 3 or not _is_json_object(segments[0])

    def wants_activity(self, principal: Principal) -> bool:
        """Tell whether the issuer is to be asked also about a token that was verified here."""
        return self._confirm_jwts and principal.issuer in self.rules.accepted_issuers

    async def find_principal(self, token: str) -> Principal:
        """Return who acts with an opaque token. Raises `TokenError` or `KeysUnavailable`.

        Whoever calls this alone must look at `claims["cnf"]`: a `Guard` refuses a bound token without its binding.
        """
        principal = await self._find(token, self._read_principal)
        assert principal is not None
        return principal

    async def check_active(self, token: str, principal: Principal) -> None:
        """Refuse a verified token that the issuer has revoked. Raises `TokenError` or `KeysUnavailable`."""
        await self._find(token, lambda _answer, _now: None)

    async def aclose(self) -> None:
        """Stop questions that are still under way; nothing else needs closing."""
        await self._flights.aclose()

    async def _find(self, token: str, read: Callable[[Mapping[str, Any], float], Principal | None]) -> Principal | None:
        if len(token) > self._policy.max_token_bytes:
            raise TokenError(Reason.TOKEN_TOO_LARGE)
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        now = self._clock()
        known = self._recall(digest, now)
        if known is None:
            try:
                known = await self._ask(digest, token, read, now)
            except KeysUnavailable:
                known = self._recall_stale(digest, now)
                if known is None:
                    raise
        return known.give()

    def _recall(self, digest: bytes, now: float) -> _Known | None:
        for kept, seconds in ((self._good, self._policy.active), (self._bad, self._policy.inactive)):
            known = kept.get(digest)
            if known is not None and is_within(known.since, seconds, now) and now < known.expires:
                with suppress(KeyError):  # pushed out by another thread in between; what was found is true nevertheless
                    kept.move_to_end(digest)
                return known
        return None

    def _recall_stale(self, digest: bytes, now: float) -> _Known | None:
        known = self._good.get(digest)
        if known is None or not self._policy.stale or now >= known.expires:
            return None
        return known if is_within(known.since, self._policy.active + self._policy.stale, now) else None

    async def _ask(
        self, digest: bytes, token: str, read: Callable[[Mapping[str, Any], float], Principal | None], now: float
    ) -> _Known:
        if self._failed is not None and is_within(self._failed[0], self._failed[1], now):
            raise self._unavailable(self._failed[0] + self._failed[1] - now, "asked in vain a moment ago")
        if not self._flights.is_running(digest) and len(self._flights) >= self._policy.max_questions:
            raise self._unavailable(1, "too many questions at once")
        try:
            return await self._flights.join(digest, lambda: self._question(digest, token, read))
        except NoAnswer as error:
            raise self._unavailable(self._policy.retry, str(error)) from error

    async def _question(
        self, digest: bytes, token: str, read: Callable[[Mapping[str, Any], float], Principal | None]
    ) -> _Known:
        try:
            answer = await self._endpoint.ask(token)
        except NoAnswer as error:
            if not error.is_about_token:  # else one made-up token after the other would keep all others out
                wait = min(max(error.retry_after_seconds or 0, self._policy.retry), _MAX_RETRY_AFTER_SECONDS)
                self._failed = self._clock(), wait
            _log.warning("issuer %s did not answer about a token: %s", self.rules.issuer, error)
            raise
        self._failed = None
        now = self._clock()
        known = self._judge(answer, read, now)
        self._good.pop(digest, None)
        self._keep(digest, known)
        return known

    def _judge(
        self, answer: Mapping[str, Any], read: Callable[[Mapping[str, Any], float], Principal | None], now: float
    ) -> _Known:
        if answer["active"] is not True:
            return _Known(now, math.inf, refused=Reason.INACTIVE)
        try:
            expires = numeric_date(answer, "exp")
            return _Known(now, math.inf if expires is None else expires, read(answer, now))
        except TokenError as error:
            return _Known(now, math.inf, refused=error.reason, detail=error.detail)

    def _keep(self, digest: bytes, known: _Known) -> None:
        is_good = known.refused is None
        kept = self._good if is_good else self._bad
        kept[digest] = known
        while len(kept) > (self._policy.tokens_kept if is_good else self._policy.inactive_kept):
            kept.popitem(last=False)

    def _read_principal(self, answer: Mapping[str, Any], now: float) -> Principal:
        claims = check_answer(answer, self.rules, now=now, trust_missing_audience=self._trust_missing_audience)
        return build_principal(claims, self.rules)

    @staticmethod
    def _unavailable(seconds: float, detail: str) -> KeysUnavailable:
        return KeysUnavailable(math.ceil(seconds), detail, reason=Reason.INTROSPECTION_UNAVAILABLE)


def check_answer(
    answer: Mapping[str, Any], rules: Generic, *, now: float, trust_missing_audience: bool
) -> VerifiedClaims:
    """Return what an answer says of an active token, if it is an access token for this service. RFC 7662 §2.2.

    Raises `TokenError`. `iss` and `exp` are optional there; the answer comes from the issuer's own endpoint.
    """
    claims = {"iss": rules.issuer, **answer}
    del claims["active"]
    token_type = claims.get("token_type", "Bearer")
    # Endpoints answer for refresh tokens too, and some say so here.
    if not isinstance(token_type, str) or token_type.lower() not in _TOKEN_TYPES:
        raise TokenError(Reason.WRONG_TOKEN_USE, "token_type")
    assumed: dict[str, Any] = {}
    if "exp" not in claims:
        assumed["exp"] = now + 1
    if "aud" not in claims and trust_missing_audience:
        assumed["aud"] = sorted(rules.audiences)
    check_claims({**claims, **assumed}, rules, now=now)
    return VerifiedClaims(claims)


def _is_json_object(segment: str) -> bool:
    try:
        start = segment[:4].ljust(4, "=").encode("ascii")
        return base64.urlsafe_b64decode(start).lstrip()[:1] == b"{"
    except ValueError:
        return False
