"""AWS Secrets Manager on loopback, for tests: it keeps AWS's documented contract, and fails when it is told to.

Needs moto's server and boto3, and no test framework. `StandIn` is the service, `RotationService` the part of it that
calls a rotation function.
"""

from __future__ import annotations

from .calls import Call, CallLog, is_same_secret
from .faults import (
    ACCESS_DENIED,
    CUT_BEFORE,
    DECRYPTION_FAILED,
    DUPLICATED,
    INTERNAL_ERROR,
    LOST_RESPONSE,
    THROTTLED,
    UNAVAILABLE,
    Cut,
    Delay,
    Duplicated,
    Fault,
    FaultPlan,
    Meanwhile,
    PartlyRefused,
    Refusal,
    Silence,
)
from .proxy import RotationRequest
from .rotation_service import STEPS, InvocationFailed, RotationService
from .stand_in import ACCOUNT, REGION, StandIn, StandInError, new_token

__all__ = [
    "ACCESS_DENIED",
    "ACCOUNT",
    "CUT_BEFORE",
    "DECRYPTION_FAILED",
    "DUPLICATED",
    "INTERNAL_ERROR",
    "LOST_RESPONSE",
    "REGION",
    "STEPS",
    "THROTTLED",
    "UNAVAILABLE",
    "Call",
    "CallLog",
    "Cut",
    "Delay",
    "Duplicated",
    "Fault",
    "FaultPlan",
    "InvocationFailed",
    "Meanwhile",
    "PartlyRefused",
    "Refusal",
    "RotationRequest",
    "RotationService",
    "Silence",
    "StandIn",
    "StandInError",
    "is_same_secret",
    "new_token",
]
