"""What a guard may be given beside a verifier, as the few methods it calls (each part lives in a module of its own)."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

from tegata_verify.presented import PresentedToken
from tegata_verify.principal import Principal
from tegata_verify.request import HttpRequest


class LoadBalancer(Protocol):
    """Knows which load balancer may speak for users (`tegata_verify.alb`)."""

    def find_token(self, request: HttpRequest) -> PresentedToken | None:
        """Return what the load balancer presents, None if there is nothing of it.

        Raises an `AccessError` if its headers came from elsewhere, or twice.
        """
        ...

    async def identify(self, presented: PresentedToken, principal: Principal) -> Mapping[str, Any]:
        """Return the verified identity beside a verified token. Raises an `AccessError`."""
        ...


class ProofRules(Protocol):
    """Checks DPoP proofs (`tegata_verify.dpop`)."""

    @property
    def required(self) -> bool:
        """Tell whether tokens without this binding are refused."""
        ...

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What may sign a proof, for challenges."""
        ...

    def check(self, request: HttpRequest, token: str, thumbprint: str, now: float) -> bool | Awaitable[bool]:
        """Check the request's proof. Raises an `AccessError`.

        The answer tells whether the proof is new; it is to be waited for where the memory is shared between processes.
        """
        ...

    def nonce(self, now: float) -> str | None:
        """Return the nonce that the next proof should carry, None if none is asked for."""
        ...


class CertificateRules(Protocol):
    """Finds the client certificate that a trusted proxy has checked (`tegata_verify.client_certificates`)."""

    @property
    def required(self) -> bool:
        """Tell whether tokens without this binding are refused."""
        ...

    def find_thumbprint(self, request: HttpRequest) -> str | None:
        """Return the `x5t#S256` of the certificate, None if there is none.

        Raises an `AccessError` if the header came from elsewhere, or twice.
        """
        ...


class IssuerQuestions(Protocol):
    """Asks the issuer about tokens (`tegata_verify.introspection`)."""

    def is_opaque(self, token: str) -> bool:
        """Tell whether only the issuer can say what this token means."""
        ...

    def wants_activity(self, principal: Principal) -> bool:
        """Tell whether the issuer is to be asked also about a token that was verified here."""
        ...

    async def find_principal(self, token: str) -> Principal:
        """Return who acts with an opaque token. Raises an `AccessError`."""
        ...

    async def check_active(self, token: str, principal: Principal) -> None:
        """Refuse a verified token that the issuer has revoked. Raises an `AccessError`."""
        ...
