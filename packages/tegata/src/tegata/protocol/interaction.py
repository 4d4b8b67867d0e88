"""What has to happen next before an authorization request can be answered: the only place that decides.

Pages call a flow and come back here, so the order of sign-in, account choice and consent is written once
(OIDC Core §3.1.2.3, §3.1.2.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tegata.identity.session import Session
from tegata.protocol.authorization_request import AuthorizationRequest
from tegata.protocol.client import Client
from tegata.protocol.errors import (
    OAuthError,
    consent_required,
    interaction_required,
    login_required,
    unmet_authentication_requirements,
)

# Reached by a password. Others come with the second factors.
ACR_PASSWORD = "urn:tegata:acr:password"
ACR_VALUES = (ACR_PASSWORD,)


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything the decision depends on.

    `subject` is the session's user as this client would see them, `hinted_subject` the verified subject of
    id_token_hint. `begun_at` is when the request came in: what was done after it counts as done for it.
    """

    request: AuthorizationRequest
    client: Client
    session: Session | None
    subject: str | None
    hinted_subject: str | None
    consented_scopes: frozenset[str]
    consented_claims: frozenset[str]
    consented_resources: frozenset[str]
    begun_at: float
    now: float
    account_chosen: bool = False
    approved: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """The next step: a page, or `done`."""

    kind: Literal["sign_in", "choose_account", "consent", "done"]
    reason: str = ""


def next_step(situation: Situation) -> Step:
    """Return the next step. Raises `OAuthError` where a page would be needed and prompt=none forbids it."""
    silent = "none" in situation.request.prompts
    for check, refusal in CHECKS:
        step = check(situation)
        if step is not None:
            if silent:
                raise refusal(step.reason)
            return step
    return Step("done")


def _is_fresh(situation: Situation) -> bool:
    """Whether the user signed in for this very request."""
    session = situation.session
    return session is not None and session.created_at >= situation.begun_at


def _signed_in(situation: Situation) -> Step | None:
    return Step("sign_in", "no_session") if situation.session is None else None


def _prompt_login(situation: Situation) -> Step | None:
    """OIDC Core §3.1.2.1: reauthenticate, even with a session."""
    if "login" in situation.request.prompts and not _is_fresh(situation):
        return Step("sign_in", "prompt_login")
    return None


def _recent_enough(situation: Situation) -> Step | None:
    """OIDC Core §3.1.2.1, `max_age`. A sign-in for this request counts, however long the consent page took.

    0 is equivalent to prompt=login, so no clock decides about it.
    """
    max_age, session = situation.request.max_age, situation.session
    if max_age is None or session is None or _is_fresh(situation):
        return None
    too_old = max_age == 0 or situation.now - session.auth_time > max_age
    return Step("sign_in", "max_age") if too_old else None


def _right_person(situation: Situation) -> Step | None:
    """OIDC Core §3.1.2.2: the user of `id_token_hint` or of the requested `sub`, and nobody else."""
    wanted = {situation.hinted_subject, situation.request.claims.requested_subject()} - {None}
    return Step("sign_in", "other_subject") if wanted and wanted != {situation.subject} else None


def _strong_enough(situation: Situation) -> Step | None:
    """OIDC Core §5.5.1.1: an essential acr that cannot be reached is an error, asked silently or not."""
    wanted = situation.request.claims.essential_acr()
    if wanted is not None and not set(wanted) & set(ACR_VALUES):
        raise unmet_authentication_requirements()
    return None


def _account_chosen(situation: Situation) -> Step | None:
    """OIDC Core §3.1.2.1, prompt=select_account."""
    chosen = situation.account_chosen or _is_fresh(situation)
    if "select_account" in situation.request.prompts and not chosen:
        return Step("choose_account", "select_account")
    return None


def _consented(situation: Situation) -> Step | None:
    """OIDC Core §3.1.2.4, for each scope, claim and resource. First-party clients ask only when the request does."""
    if situation.approved:
        return None
    request = situation.request
    if "consent" in request.prompts:
        return Step("consent", "prompt_consent")
    if situation.client.metadata.consent == "implicit":
        return None
    missing = set(request.scopes) - situation.consented_scopes
    missing |= request.claims.personal_names() - situation.consented_claims
    missing |= set(request.resources) - situation.consented_resources
    return Step("consent", "no_consent") if missing else None


def _consent_refusal(reason: str) -> OAuthError:
    return consent_required()


# The order of the steps, each with the error that answers prompt=none (OIDC Core §3.1.2.6).
CHECKS = (
    (_strong_enough, interaction_required),
    (_signed_in, login_required),
    (_prompt_login, login_required),
    (_recent_enough, login_required),
    (_right_person, login_required),
    (_account_chosen, interaction_required),
    (_consented, _consent_refusal),
)
