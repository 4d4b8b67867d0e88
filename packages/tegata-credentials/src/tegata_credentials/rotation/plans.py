"""What is to be rotated and how, as data: for the Lambda function, and for servers that rotate without one.

A plan names secrets and roles and never holds a value. The same JSON object serves everywhere:

    {"secret": "shop-prod-secret-database", "strategy": "alternating-users", "group": "shop",
     "pair": ["shop_a", "shop_b"], "administrator": "shop-prod-secret-rotator", "every": "30d"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation import role_names

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class PlanError(CredentialError):
    """A plan cannot be used; the message names each field that is wrong and never repeats a value.

    >>> try:
    ...     read_plans("hunter2")
    ... except PlanError as error:
    ...     "hunter2" in str(error)
    False
    """


def _duration(value: object) -> object:
    found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", value) if isinstance(value, str) else None
    return value if found is None else timedelta(seconds=int(found[1]) * _UNITS[found[2]])


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Role = Annotated[str, Field(pattern=role_names.PATTERN)]


class _Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    secret: str = Field(min_length=1, max_length=2048, description="Id, name or ARN of the secret that is rotated.")
    every: Duration = Field(
        timedelta(days=30),
        description="How old a value may become, e.g. 30d; where Secrets Manager keeps the schedule, unused.",
    )


class AlternatingUsersPlan(_Plan):
    """Two login roles under one group role: the new password is always that of the user nobody uses.

    >>> AlternatingUsersPlan(secret="shop-prod-secret-database", strategy="alternating-users", group="shop").canary
    'select 1'
    """

    strategy: Literal["alternating-users"]
    group: Role = Field(description="The NOLOGIN role that owns everything and that both users become.")
    pair: tuple[Role, Role] | None = Field(None, description="The two login roles; without it GROUP_a and GROUP_b.")
    administrator: str | None = Field(
        None, description="Secret of the role that may set the passwords; without it that of `masterarn`."
    )
    canary: str = Field("select 1", description="A statement that must work before the new login becomes current.")
    rest_seconds: float = Field(
        0.0,
        ge=0,
        le=7 * 86_400,
        allow_inf_nan=False,
        description="So long after a rotation the next one waits, for whoever keeps the previous login in a cache. "
        "Only where the store knows since when a version is current: files do, AWS Secrets Manager does not.",
    )


class SingleUserPlan(_Plan):
    """One role that changes its own password. There is a moment at which the current value is refused.

    >>> SingleUserPlan(secret="shop", strategy="single-user", administrator="shop-admin", every="90d").every.days
    90
    """

    strategy: Literal["single-user"]
    administrator: str = Field(description="Secret of a role that can set the password should everything else fail.")
    becomes: Role | None = Field(None, description="The role that the login works as, if it is not its own.")
    canary: str = Field("select 1", description="A statement that must work before the new login becomes current.")


class SigningKeysPlan(_Plan):
    """A ring of keys for JWTs: published, active, verify-only, removed.

    >>> SigningKeysPlan(secret="shop-prod-secret-jwt", strategy="signing-keys").algorithm
    'ES256'
    """

    strategy: Literal["signing-keys"]
    algorithm: Literal["ES256", "RS256", "PS256", "EdDSA"] = Field("ES256", description="Of new keys.")
    jwks_age: Duration = Field(timedelta(minutes=5), description="How long verifiers keep a JWKS.")
    secret_age: Duration | None = Field(
        None, description="How long readers keep a version of the secret; without it as long as a JWKS."
    )
    jwks_url: str | None = Field(
        None, pattern=r"^https?://", description="Where the world reads the keys, to be asked before the end."
    )


class GenericTokenPlan(_Plan):
    """A key of somebody else's API, made and taken back by a function of yours.

    >>> GenericTokenPlan(secret="payments", strategy="generic-token", provider="shop.payments:keys").overlap.seconds
    3600
    """

    strategy: Literal["generic-token"]
    provider: str = Field(
        pattern=r"^[\w.]+:\w+$", description="`module:name` of an object with make, check and, if you like, revoke."
    )
    member: str | None = Field(None, description="Where the key stands if the secret is a JSON object.")
    overlap: Duration = Field(timedelta(hours=1), description="How long readers may keep a key that was replaced.")


Plan = Annotated[
    AlternatingUsersPlan | SingleUserPlan | SigningKeysPlan | GenericTokenPlan, Field(discriminator="strategy")
]
_plans: TypeAdapter[list[Plan]] = TypeAdapter(list[Plan])


def read_plans(text: str) -> list[Plan]:
    """Return the plans in a JSON array, or in one JSON object. Raises `PlanError`.

    >>> read_plans('{"secret": "shop-dev-secret-jwt", "strategy": "signing-keys", "every": "90d"}')[0].algorithm
    'ES256'
    """
    try:
        found: Any = json.loads(text)
    except ValueError:
        raise PlanError("the plan of rotation is not JSON") from None
    return plans_of(found if isinstance(found, list) else [found])


def plans_of(documents: list[Mapping[str, Any]]) -> list[Plan]:
    """Return the plans that these documents are. Raises `PlanError` that lists everything wrong at once."""
    try:
        plans = _plans.validate_python(documents)
    except ValidationError as error:
        wrong = [f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors(include_input=False)]
        raise PlanError("; ".join(wrong)) from None
    names = [plan.secret for plan in plans]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PlanError(f"more than one plan for {', '.join(twice)}")
    return plans
