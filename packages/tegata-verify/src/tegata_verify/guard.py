"""Decides about one HTTP request: who acts, with which token, and whether this act is allowed.

All front ends stand on this. `Guard` is for asyncio, `SyncGuard` for threads; a framework is asked for nothing but an
`HttpRequest` and is given a `Principal` or a `Refusal`. The order of the checks is `tegata_verify.decision`.
"""

from __future__ import annotations

import logging
from typing import Any, TypedDict, Unpack

from tegata_verify.decision import (
    AskActivity,
    Decision,
    GuardParts,
    Identify,
    Introspect,
    Question,
    Verify,
    Wait,
    decide,
)
from tegata_verify.errors import AccessError, Challenges, KeysUnavailable, Reason, Refusal, build_refusal
from tegata_verify.keys import Clock
from tegata_verify.parts import CertificateRules, IssuerQuestions, LoadBalancer, ProofRules
from tegata_verify.permissions import Requirement, check_permission
from tegata_verify.policy import AccessPolicy, find_method
from tegata_verify.principal import Principal
from tegata_verify.protected_resource import Description, ProtectedResource
from tegata_verify.request import HttpRequest
from tegata_verify.sync_verifier import SyncVerifier
from tegata_verify.verifier import Verifier

_log = logging.getLogger(__name__)

ANYBODY = Requirement()
"""Any valid token will do."""


class GuardArguments(TypedDict, total=False):
    """What both kinds of guard may be given; `Guard` says what each is."""

    realm: str
    alb: LoadBalancer | None
    dpop: ProofRules | None
    certificates: CertificateRules | None
    introspection: IssuerQuestions | None
    resource: ProtectedResource | None
    policy: AccessPolicy | None


class _Judge:
    """What a guard says without waiting for anybody."""

    def __init__(self, verifier: Verifier | SyncVerifier, parts: GuardParts, clock: Clock | None) -> None:
        self.parts = parts
        self.challenges = parts.build_challenges()
        self._trusted = verifier.issuers
        self._clock = clock or verifier.clock

    def refuse(self, error: AccessError) -> Refusal:
        """Return the HTTP answer for a refusal, and tell the log its reason."""
        return refuse(error, self.challenges, build_nonce_headers(self.parts, self._clock()))

    def answer_headers(self, request: HttpRequest) -> tuple[tuple[str, str], ...]:
        """Return what the answer to an accepted request should carry too: the nonce for the next proof.

        RFC 9449 §8.2. There is nothing for a request without a proof.
        """
        return build_nonce_headers(self.parts, self._clock()) if request.values(b"dpop") else ()

    def describe(self, path: str) -> Description | None:
        """Return the service's description if it is at `path`; front ends serve it to everybody. RFC 9728 §3."""
        return self.parts.describe(path, self._trusted)

    def permit(self, principal: Principal, request: HttpRequest, requirement: Requirement) -> None:
        """Refuse a further act of somebody whom this guard has let in with the same request. Raises an `AccessError`.

        `authorize` would refuse the second time: a DPoP proof is good once.
        """
        method = find_method(request)
        check_permission(principal, requirement, policy=self.parts.policy, method=method, now=self._clock())

    def _decide(self, request: HttpRequest, requirement: Requirement) -> Decision:
        return decide(self.parts, request, requirement, clock=self._clock)


class Guard(_Judge):
    """Lets requests in, or says why not. Make one for the process.

    `realm` names the protected space in challenges (RFC 9110 §11.5). The other arguments add what a service may accept
    beside plain bearer tokens: headers of a load balancer (`alb`), DPoP proofs (`dpop`), client certificates
    (`certificates`), opaque and revoked tokens (`introspection`), a description for clients (`resource`), what roles
    and scopes allow (`policy`). Without them a token that is bound to a key or a certificate is refused, since nobody
    could check the binding.
    `clock` gives seconds since 1970; without it the verifier's.
    """

    def __init__(
        self,
        verifier: Verifier,
        *,
        realm: str = "api",
        alb: LoadBalancer | None = None,
        dpop: ProofRules | None = None,
        certificates: CertificateRules | None = None,
        introspection: IssuerQuestions | None = None,
        resource: ProtectedResource | None = None,
        policy: AccessPolicy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.verifier = verifier
        parts = GuardParts(
            realm=realm,
            alb=alb,
            dpop=dpop,
            certificates=certificates,
            introspection=introspection,
            resource=resource,
            policy=policy,
        )
        super().__init__(verifier, parts, clock)

    async def authorize(self, request: HttpRequest, requirement: Requirement = ANYBODY) -> Principal:
        """Return who acts. Raises an `AccessError`."""
        decision = self._decide(request, requirement)
        try:
            question = next(decision)
            while True:
                question = decision.send(await self._answer(question))
        except StopIteration as end:
            principal: Principal = end.value
            return principal

    async def _answer(self, question: Question) -> Any:
        if isinstance(question, Verify):
            return await self.verifier.verify(question.token, caller_checks_binding=True)
        return await ask(self.parts, question)


class SyncGuard(_Judge):
    """`Guard` for threads: the same arguments, rules and answers, without asyncio in the caller.

    Bearer tokens, proofs and certificates are judged in the caller's thread; whatever has to be asked elsewhere is
    waited for, `timeout_seconds` at most, in the event loop of the verifier's background.

    >>> from tegata_verify.testing import TestIssuer
    >>> issuer = TestIssuer()
    >>> guard = SyncGuard(issuer.verifier(), realm="beer")
    >>> authorization = f"Bearer {issuer.mint(subject='user-1')}".encode()
    >>> guard.authorize(HttpRequest("GET", "https://api.test/", ((b"authorization", authorization),))).subject
    'user-1'
    >>> guard.close()
    """

    def __init__(
        self,
        verifier: SyncVerifier | Verifier,
        *,
        clock: Clock | None = None,
        timeout_seconds: float = 15,
        **arguments: Unpack[GuardArguments],
    ) -> None:
        super().__init__(verifier, GuardParts(**arguments), clock)
        self.verifier = SyncVerifier.of(verifier) if isinstance(verifier, Verifier) else verifier
        self._timeout_seconds = timeout_seconds

    def authorize(self, request: HttpRequest, requirement: Requirement = ANYBODY) -> Principal:
        """Return who acts. Raises an `AccessError`."""
        decision = self._decide(request, requirement)
        try:
            question = next(decision)
            while True:
                question = decision.send(self._answer(question))
        except StopIteration as end:
            principal: Principal = end.value
            return principal

    def close(self) -> None:
        """Stop what is still under way in the background, and its thread."""
        self.verifier.close()

    def _answer(self, question: Question) -> Any:
        if isinstance(question, Verify):
            return self.verifier.verify(question.token, caller_checks_binding=True)
        try:
            return self.verifier.background.run(ask(self.parts, question), timeout_seconds=self._timeout_seconds)
        except TimeoutError as error:
            is_introspection = isinstance(question, Introspect | AskActivity)
            reason = Reason.INTROSPECTION_UNAVAILABLE if is_introspection else Reason.KEYS_UNAVAILABLE
            raise KeysUnavailable(5, str(error), reason=reason) from error


async def ask(parts: GuardParts, question: Introspect | AskActivity | Identify | Wait) -> Any:
    """Return the answer of the part that a question is for; SyncGuard does this in its background."""
    if isinstance(question, Introspect):
        assert parts.introspection is not None
        return await parts.introspection.find_principal(question.token)
    if isinstance(question, AskActivity):
        assert parts.introspection is not None
        return await parts.introspection.check_active(question.token, question.principal)
    if isinstance(question, Identify):
        assert parts.alb is not None
        return await parts.alb.identify(question.presented, question.principal)
    return await question.answer


def build_nonce_headers(parts: GuardParts, now: float) -> tuple[tuple[str, str], ...]:
    """Return the field with the nonce for the next proof, nothing where none is asked for."""
    nonce = parts.dpop.nonce(now) if parts.dpop is not None else None
    return () if nonce is None else (("DPoP-Nonce", nonce),)


def refuse(error: AccessError, challenges: Challenges, more_headers: tuple[tuple[str, str], ...]) -> Refusal:
    """Build the answer for a refusal, and tell the log its reason."""
    _log.info("request refused: %s", error.reason, extra={"reason": str(error.reason), "detail": error.detail})
    refusal = build_refusal(error, challenges)
    given = {name for name, _ in refusal.headers}
    more = tuple((name, value) for name, value in more_headers if name not in given)
    return Refusal(refusal.status, refusal.headers + more, refusal.body)
