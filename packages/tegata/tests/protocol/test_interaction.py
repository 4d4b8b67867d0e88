"""What happens next: a decision table over every combination, and no loop anywhere (OIDC Core §3.1.2.1 to §3.1.2.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from tegata.identifiers import SessionId, UserId
from tegata.identity.session import Session
from tegata.protocol.authorization_request import AnswerTo, AuthorizationRequest
from tegata.protocol.claims import ClaimsRequest
from tegata.protocol.client import Client, ClientMetadata
from tegata.protocol.errors import OAuthError
from tegata.protocol.interaction import ACR_PASSWORD, Situation, Step, next_step

from .outcome import outcome_of

BEGUN, NOW = 1_000.0, 1_010.0
ANNA, BERT = "anna", "bert"
SILENT = frozenset({"none"})

PROMPTS = [
    SILENT,
    *(
        frozenset(name for name, on in zip(("login", "consent", "select_account"), chosen, strict=True) if on)
        for chosen in product([False, True], repeat=3)
    ),
]
# When the session began, and so when its user signed in; None: no session.
SESSIONS: dict[str, float | None] = {"none": None, "old": 100.0, "young": 990.0, "fresh": 1_005.0}
MAX_AGES = [None, 0, 60]
HINTS = [None, ANNA, BERT]
CONSENTS = ["stored", "missing", "implicit", "approved"]


@dataclass(frozen=True)
class Case:
    """One row of the table. The session is always Anna's."""

    prompts: frozenset[str] = frozenset()
    session: str = "young"
    max_age: int | None = None
    hint: str | None = None
    consent: str = "stored"
    chosen: bool = False

    def situation(self) -> Situation:
        began = SESSIONS[self.session]
        return Situation(
            request=request(self.prompts, self.max_age),
            client=Client("web", ClientMetadata(consent="implicit" if self.consent == "implicit" else "explicit")),
            session=session(began) if began is not None else None,
            subject=ANNA if began is not None else None,
            hinted_subject=self.hint,
            consented_scopes=frozenset({"openid", "email"} if self.consent == "stored" else ()),
            consented_claims=frozenset(),
            consented_resources=frozenset(),
            begun_at=BEGUN,
            now=NOW,
            account_chosen=self.chosen,
            approved=self.consent == "approved",
        )

    def expected(self) -> str:
        """The table, in the words of the specification and not of the code."""
        fresh = self.session == "fresh"
        too_old = {None: False, 0: not fresh, 60: self.session == "old"}[self.max_age]
        must_sign_in = self.session == "none" or ("login" in self.prompts and not fresh) or too_old or self.hint == BERT
        must_choose = "select_account" in self.prompts and not fresh and not self.chosen
        unasked = self.consent == "missing"
        must_consent = self.consent != "approved" and ("consent" in self.prompts or unasked)
        if must_sign_in:
            return "login_required" if "none" in self.prompts else "sign_in"
        if must_choose:
            return "choose_account"
        if must_consent:
            return "consent_required" if "none" in self.prompts else "consent"
        return "done"


def request(prompts: frozenset[str] = frozenset(), max_age: int | None = None, **claims: Any) -> AuthorizationRequest:
    return AuthorizationRequest(
        client_id="web",
        answer_to=AnswerTo("https://rp.example/cb", True, "query", None),
        scopes=("openid", "email"),
        resources=(),
        nonce=None,
        code_challenge=None,
        prompts=prompts,
        max_age=max_age,
        login_hint=None,
        id_token_hint=None,
        ui_locales=None,
        acr_values=(),
        claims=ClaimsRequest(**claims),
    )


def session(began: float) -> Session:
    return Session(
        SessionId(UUID(int=1)), UserId(UUID(int=2)), int(began), ("pwd",), ACR_PASSWORD, began, began, began + 10_000
    )


def every_case(prompts: frozenset[str]) -> Iterator[Case]:
    for values in product(SESSIONS, MAX_AGES, HINTS, CONSENTS, [False, True]):
        yield Case(prompts, *values)


def told(situation: Situation) -> str:
    outcome = outcome_of(lambda: next_step(situation))
    return outcome.kind if isinstance(outcome, Step) else outcome.code


@pytest.mark.parametrize("prompts", PROMPTS, ids=lambda prompts: " ".join(sorted(prompts)) or "no prompt")
def test_every_combination_leads_where_the_specification_says(prompts: frozenset[str]) -> None:
    for case in every_case(prompts):
        assert told(case.situation()) == case.expected(), case


def test_prompt_none_never_shows_a_page() -> None:
    for case in every_case(SILENT):
        assert told(case.situation()) in {"done", "login_required", "consent_required"}, case


@pytest.mark.parametrize("prompts", PROMPTS[1:], ids=lambda prompts: " ".join(sorted(prompts)) or "no prompt")
def test_a_person_who_does_what_is_asked_is_done_after_each_page_once(prompts: frozenset[str]) -> None:
    """A fresh sign-in ends prompt=login and max_age=0 without a loop, however long the pages take."""
    for case in every_case(prompts):
        situation = case.situation()
        seen: list[str] = []
        while (kind := next_step(situation).kind) != "done":
            assert kind not in seen, (case, seen)
            seen.append(kind)
            later = situation.now + 700.0
            situation = replace(situation, now=later)
            if kind == "sign_in":
                who = situation.hinted_subject or ANNA
                situation = replace(situation, session=session(later), subject=who)
            elif kind == "choose_account":
                situation = replace(situation, account_chosen=True)
            else:
                situation = replace(situation, approved=True)


@pytest.mark.parametrize("began", [BEGUN - 0.001, NOW - 10])
def test_max_age_0_is_prompt_login_even_in_the_same_instant(began: float) -> None:
    """OIDC Core §3.1.2.1: max_age=0 is equivalent to prompt=login."""
    situation = replace(Case(max_age=0).situation(), now=BEGUN, begun_at=BEGUN)
    assert situation.session is not None
    just_now = replace(situation.session, created_at=BEGUN - 0.001, auth_time=int(BEGUN))
    assert next_step(replace(situation, session=just_now)) == Step("sign_in", "max_age")


def test_a_sign_in_that_is_just_as_old_as_allowed_is_recent_enough() -> None:
    situation = Case(max_age=60).situation()
    assert situation.session is not None
    assert told(replace(situation, now=situation.session.auth_time + 60.0)) == "done"
    assert told(replace(situation, now=situation.session.auth_time + 60.5)) == "sign_in"


def test_the_person_who_is_asked_for_by_name_must_sign_in() -> None:
    """OIDC Core §5.5.1, a requested `sub`."""
    for subject, kind in ((ANNA, "done"), (BERT, "sign_in")):
        wanted = replace(Case().situation(), request=request(id_token={"sub": {"value": subject}}))
        assert told(wanted) == kind
    both = replace(Case(hint=ANNA).situation(), request=request(id_token={"sub": {"value": BERT}}))
    assert told(both) == "sign_in"


@pytest.mark.parametrize(
    ("acr", "kind"),
    [
        pytest.param({"essential": True, "values": [ACR_PASSWORD, "gold"]}, "done", id="one of them is reached"),
        pytest.param({"essential": True, "values": ["gold"]}, "unmet_authentication_requirements", id="out of reach"),
        pytest.param({"essential": True, "values": []}, "unmet_authentication_requirements", id="none of none"),
        pytest.param({"values": ["gold"]}, "done", id="voluntary"),
    ],
)
@pytest.mark.parametrize("prompts", [frozenset(), SILENT], ids=["asked", "silent"])
def test_an_essential_acr_out_of_reach_is_an_error_and_no_page(
    prompts: frozenset[str], acr: dict[str, Any], kind: str
) -> None:
    assert told(replace(Case().situation(), request=request(prompts, id_token={"acr": acr}))) == kind


def test_claims_asked_for_by_name_need_consent_too() -> None:
    asking = replace(Case().situation(), request=request(userinfo={"phone_number": None, "sub": None}))
    assert told(asking) == "consent"
    assert told(replace(asking, consented_claims=frozenset({"phone_number"}))) == "done"


def test_a_resource_that_was_not_consented_to_asks_again() -> None:
    situation = Case().situation()
    asking = replace(
        situation, request=replace(situation.request, resources=("https://a.example", "https://b.example"))
    )
    assert told(replace(asking, consented_resources=frozenset({"https://a.example"}))) == "consent"
    assert told(replace(asking, consented_resources=frozenset(asking.request.resources))) == "done"


def test_consent_to_more_is_consent_to_less_and_never_the_reverse() -> None:
    situation = Case().situation()
    assert told(replace(situation, consented_scopes=frozenset({"openid", "email", "phone"}))) == "done"
    assert told(replace(situation, consented_scopes=frozenset({"openid"}))) == "consent"


def test_an_error_says_why_in_its_reason() -> None:
    with pytest.raises(OAuthError) as refused:
        next_step(Case(SILENT, session="none").situation())
    assert refused.value.reason == "no_session"
