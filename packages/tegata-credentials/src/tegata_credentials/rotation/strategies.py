"""Makes the strategy that a plan describes; each kind of secret loads only what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tegata_credentials.observer import NoObserver, Observer
from tegata_credentials.rotation.audited import AuditedReads, Reader
from tegata_credentials.rotation.plans import (
    AlternatingUsersPlan,
    GenericTokenPlan,
    Plan,
    PlanError,
    SigningKeysPlan,
    SingleUserPlan,
)
from tegata_credentials.rotation.ports import DatesLabels, Strategy, VersionStore

NO_REST = (
    "this store does not know since when a version is current: leave it out, and rotate at intervals longer than "
    "anybody keeps a login"
)


def strategies_of(
    plans: Sequence[Plan], store: VersionStore, *, sslrootcert: str | None = None, observer: Observer | None = None
) -> Mapping[str, Strategy]:
    """Return what `Rotation` takes: a strategy for each secret, which is also the list of those that may be rotated.

    `store` is where the secrets are kept, the administrators' too. Raises what `strategy_of` does, and `PlanError` for
    a plan that this store cannot follow.
    """
    resting = [plan.secret for plan in plans if isinstance(plan, AlternatingUsersPlan) and plan.rest_seconds]
    if resting and not isinstance(store, DatesLabels):
        raise PlanError(f"rest_seconds of {', '.join(resting)}: {NO_REST}")
    return {plan.secret: strategy_of(plan, store, sslrootcert=sslrootcert, observer=observer) for plan in plans}


def strategy_of(
    plan: Plan, store: Reader, *, sslrootcert: str | None = None, observer: Observer | None = None
) -> Strategy:
    """Return the strategy for one plan.

    `store` is where administrators' secrets are read from, of which `observer` is told; `sslrootcert` the certificates
    that a database's own is verified with. Raises `PlanError` if a provider cannot be loaded, `CredentialError` if an
    extra is not installed.
    """
    if isinstance(plan, AlternatingUsersPlan | SingleUserPlan):
        reader = AuditedReads(store, observer or NoObserver())
        return _database_strategy(plan, reader, sslrootcert)
    if isinstance(plan, SigningKeysPlan):
        return _signing_keys(plan)
    return _generic_token(plan)


def _database_strategy(plan: AlternatingUsersPlan | SingleUserPlan, store: Reader, sslrootcert: str | None) -> Strategy:
    from tegata_credentials.rotation.postgres.administrator import Administrator
    from tegata_credentials.rotation.postgres.alternating_users import AlternatingUsers
    from tegata_credentials.rotation.postgres.pair import LoginPair
    from tegata_credentials.rotation.postgres.proof import Proof
    from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
    from tegata_credentials.rotation.postgres.single_user import SingleUser

    sessions, proof = PsycopgSessions(sslrootcert=sslrootcert), Proof(canary=plan.canary)
    administrator = Administrator(store, plan.administrator)
    if isinstance(plan, SingleUserPlan):
        return SingleUser(sessions, administrator, plan.becomes, proof)
    pair = LoginPair.of(plan.group) if plan.pair is None else LoginPair(plan.group, *plan.pair)
    return AlternatingUsers(sessions, pair, administrator, proof, rest=plan.rest_seconds)


def _generic_token(plan: GenericTokenPlan) -> Strategy:
    from tegata_credentials.rotation.generic_token import GenericToken

    module, _, name = plan.provider.partition(":")
    try:
        made = GenericToken.of(getattr(importlib.import_module(module), name), member=plan.member)
    except (ImportError, AttributeError):
        raise PlanError(
            f"{plan.provider} cannot be loaded: write module:name of an object with make and check"
        ) from None
    return replace(made, overlap=plan.overlap)


def _signing_keys(plan: SigningKeysPlan) -> Strategy:
    from tegata_credentials.rotation.signing_keys import SigningKeys

    return SigningKeys(plan.algorithm, jwks_age=plan.jwks_age, secret_age=plan.secret_age, jwks_url=plan.jwks_url)
