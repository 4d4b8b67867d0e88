"""The access token as it came with a request: by which scheme, and what came beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Scheme(StrEnum):
    """How a token was presented: RFC 6750 §2.1, RFC 9449 §7.1, or by a trusted load balancer."""

    BEARER = "bearer"
    DPOP = "dpop"
    ALB = "alb"


@dataclass(frozen=True, slots=True)
class PresentedToken:
    """A token nobody has vouched for yet. It does not stand in `repr`, because representations end in logs.

    >>> PresentedToken(Scheme.BEARER, "eyJ...")
    PresentedToken(scheme=<Scheme.BEARER: 'bearer'>)
    """

    scheme: Scheme
    token: str = field(repr=False)
