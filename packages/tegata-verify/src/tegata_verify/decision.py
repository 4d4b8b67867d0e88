"""The order in which a request is judged, written once for asyncio and for threads.

Nothing waits here: what must be asked elsewhere is yielded as a question, and whoever drives the decision sends the
answer back, or raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from tegata_verify.bearer import parse_authorization
from tegata_verify.binding import Binding, find_binding
from tegata_verify.errors import (
    Challenges,
    InvalidDpopProof,
    InvalidRequest,
    MissingToken,
    Reason,
    TokenError,
)
from tegata_verify.issuers import Generic
from tegata_verify.keys import Clock
from tegata_verify.parts import CertificateRules, IssuerQuestions, LoadBalancer, ProofRules
from tegata_verify.permissions import Requirement, check_permission
from tegata_verify.policy import AccessPolicy, find_method
from tegata_verify.presented import PresentedToken, Scheme
from tegata_verify.principal import Principal, freeze
from tegata_verify.protected_resource import Description, ProtectedResource, build_description, build_document
from tegata_verify.request import HttpRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardParts:
    """What a guard was given beside its verifier."""

    realm: str = "api"
    alb: LoadBalancer | None = None
    dpop: ProofRules | None = None
    certificates: CertificateRules | None = None
    introspection: IssuerQuestions | None = None
    resource: ProtectedResource | None = None
    policy: AccessPolicy | None = None

    def build_challenges(self) -> Challenges:
        """Return what every challenge of this guard says."""
        return Challenges(
            self.realm,
            resource_metadata=self.resource.metadata_url if self.resource is not None else None,
            dpop_algorithms=self.dpop.algorithms if self.dpop is not None else (),
            only_dpop=self.dpop is not None and self.dpop.required,
        )

    def describe(self, path: str, issuers: Collection[Generic]) -> Description | None:
        """Return the service's description if it is at `path`, which may end in a slash more. RFC 9728 §3.1."""
        if self.resource is None or path.rstrip("/") != self.resource.metadata_path.rstrip("/"):
            return None
        document = build_document(
            self.resource, issuers=issuers, dpop=self.dpop, certificates=self.certificates, policy=self.policy
        )
        return build_description(document)


@dataclass(frozen=True, slots=True)
class Verify:
    """Who acts with this JWT? The answer is a `Principal`."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Introspect:
    """Who acts with this opaque token? The answer is a `Principal`."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AskActivity:
    """Has the issuer revoked this verified token? Whoever is asked raises, or answers nothing."""

    token: str = field(repr=False)
    principal: Principal


@dataclass(frozen=True, slots=True)
class Identify:
    """Whom does the load balancer speak of? The answer is a mapping."""

    presented: PresentedToken
    principal: Principal


@dataclass(frozen=True, slots=True)
class Wait:
    """An answer that is on its way already, from a memory shared between processes."""

    answer: Awaitable[bool]


Question = Verify | Introspect | AskActivity | Identify | Wait
Decision = Generator[Question, Any, Principal]


def decide(parts: GuardParts, request: HttpRequest, requirement: Requirement, *, clock: Clock) -> Decision:
    """Judge one request; the generator returns who acts. Raises an `AccessError`.

    The token is judged before the proof, so that nobody without a token fills the memory of proofs.
    """
    presented = find_token(parts, request)
    thumbprint = parts.certificates.find_thumbprint(request) if parts.certificates is not None else None
    principal = yield from _verified(parts, presented)
    now = clock()  # not before: a proof must not outlive the memory of it while its issuer is slow
    binding = find_binding(principal.claims)
    check_certificate(parts, binding, thumbprint)
    check_scheme(parts, presented, binding)
    if parts.dpop is not None and binding.key is not None:
        is_new = parts.dpop.check(request, presented.token, binding.key, now)
        if not (is_new if isinstance(is_new, bool) else (yield Wait(is_new))):
            raise InvalidDpopProof(Reason.REPLAYED_PROOF)
    if presented.scheme is Scheme.ALB:
        principal = replace(principal, identity=freeze((yield Identify(presented, principal))))
    check_permission(principal, requirement, policy=parts.policy, method=find_method(request), now=now)
    return principal


def find_token(parts: GuardParts, request: HttpRequest) -> PresentedToken:
    """Return the one token of a request. Raises an `AccessError`.

    A token in the `Authorization` header beside one of the load balancer is refused: of two none is trusted.
    """
    by_load_balancer = parts.alb.find_token(request) if parts.alb is not None else None
    schemes = [b"bearer"] if parts.dpop is None else [b"bearer", b"dpop"]
    try:
        scheme, token = parse_authorization(request.headers, request.query_string, schemes)
    except MissingToken:
        if by_load_balancer is None:
            raise
        return by_load_balancer
    if by_load_balancer is not None:
        raise InvalidRequest(Reason.REPEATED_AUTHORIZATION, "beside the load balancer's")
    return PresentedToken(Scheme(scheme.decode()), token)


def check_certificate(parts: GuardParts, binding: Binding, thumbprint: str | None) -> None:
    """Refuse a token bound to a certificate that did not come. RFC 8705 §3. Raises `TokenError`."""
    if binding.certificate is not None and binding.certificate != thumbprint:
        raise TokenError(Reason.WRONG_CERTIFICATE, "another one" if thumbprint is not None else "none came")
    if binding.certificate is None and parts.certificates is not None and parts.certificates.required:
        raise TokenError(Reason.NOT_BOUND, "to a certificate")


def check_scheme(parts: GuardParts, presented: PresentedToken, binding: Binding) -> None:
    """Refuse a token bound to a key unless it came with the scheme DPoP, and the reverse. RFC 9449 §7.1, §7.2.

    Raises `TokenError`; also where no proofs are configured, because there nobody could check the binding.
    """
    by_dpop = presented.scheme is Scheme.DPOP
    if binding.key is not None and not by_dpop:
        raise TokenError(Reason.WRONG_SCHEME, "bound to a key")
    if binding.key is None and by_dpop:
        raise TokenError(Reason.WRONG_SCHEME, "not bound to a key")
    if binding.key is None and parts.dpop is not None and parts.dpop.required:
        raise TokenError(Reason.NOT_BOUND, "to a key")


def _verified(parts: GuardParts, presented: PresentedToken) -> Decision:
    introspection, token = parts.introspection, presented.token
    if introspection is not None and introspection.is_opaque(token):
        answer: Principal = yield Introspect(token)
        return answer
    principal: Principal = yield Verify(token)
    if introspection is not None and introspection.wants_activity(principal):
        yield AskActivity(token, principal)
    return principal
