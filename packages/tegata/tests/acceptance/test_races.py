"""Many at once: what is single use is taken once, and two tabs both stay signed in (ARCHITECTURE §4.1, P21 to P30)."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import httpx2
import pytest

from .contract import User
from .fixtures import NewBrowser
from .relying_party import Browser, Party, RelyingParty, plain_client, refusal, success

MANY = 50


def post_at_once(party: RelyingParty, forms: list[dict[str, str]]) -> list[httpx2.Response]:
    """Post each form to the token endpoint from a thread and a warm connection of its own, all let go together."""
    barrier = Barrier(len(forms))

    def one(form: dict[str, str]) -> httpx2.Response:
        with plain_client() as http:
            http.get(str(party.metadata["jwks_uri"]))
            barrier.wait(60)
            return replace(party, http=http).post("token", form)

    with ThreadPoolExecutor(len(forms)) as pool:
        return list(pool.map(one, forms))


def refresh_form(token: str) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token}


def signed_in(party: RelyingParty, browser: Browser, user: User) -> dict[str, Any]:
    return party.tokens(browser, user, scope="openid offline_access")


@pytest.mark.parametrize("suffix", ["web", "spa", "jwt"])
def test_one_code_out_of_fifty_tries_is_taken_once_and_the_replay_revokes(
    party: Party, browser: Browser, user: User, suffix: str
) -> None:
    """RFC 6749 §4.1.2, P30: the refusal is committed together with its consequences."""
    it = party("demo", suffix)
    attempt = it.attempt(scope="openid offline_access")
    landing = browser.sign_in(attempt.url, user)
    form = {
        "grant_type": "authorization_code",
        "code": landing.code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier or "",
    }
    answers = post_at_once(it, [form] * MANY)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 400: MANY - 1}
    for answer in answers:
        if answer.status_code == 400:
            refusal(answer, "invalid_grant")
    won = next(answer for answer in answers if answer.status_code == 200).json()
    assert it.userinfo(won["access_token"]).status_code == 401
    refusal(it.refresh(won["refresh_token"]), "invalid_grant")


@pytest.mark.parametrize("suffix", ["web", "spa"])
def test_fifty_refreshes_at_once_leave_one_living_family(
    party: Party, browser: Browser, user: User, suffix: str
) -> None:
    """P22 to P24: all succeed with one and the same successor, nothing is revoked."""
    it = party("demo", suffix)
    first = signed_in(it, browser, user)
    answers = post_at_once(it, [refresh_form(first["refresh_token"])] * MANY)
    documents = [success(answer) for answer in answers]
    successors = {document["refresh_token"] for document in documents}
    assert len(successors) == 1
    assert first["refresh_token"] not in successors
    for document in documents[:3]:
        success(it.userinfo(document["access_token"]))
    success(it.refresh(successors.pop()))


def test_a_repeat_of_the_parent_gets_the_same_successor(web: RelyingParty, browser: Browser, user: User) -> None:
    """P22, P23: a lost answer, asked for again."""
    first = signed_in(web, browser, user)
    second = success(web.refresh(first["refresh_token"]))
    again = success(web.refresh(first["refresh_token"]))
    assert again["refresh_token"] == second["refresh_token"]


def test_an_older_generation_kills_the_family(web: RelyingParty, browser: Browser, user: User) -> None:
    """RFC 9700 §4.14.2, P22: only the immediate parent has a grace."""
    first = signed_in(web, browser, user)
    second = success(web.refresh(first["refresh_token"]))
    third = success(web.refresh(second["refresh_token"]))
    success(web.userinfo(third["access_token"]))
    refusal(web.refresh(first["refresh_token"]), "invalid_grant")
    for document in (second, third):
        refusal(web.refresh(document["refresh_token"]), "invalid_grant")
        assert web.introspect(document["refresh_token"]) == {"active": False}
    assert web.introspect(third["access_token"]) == {"active": False}


def test_killing_one_family_spares_the_others(web: RelyingParty, new_browser: NewBrowser, user: User) -> None:
    """P21: one user and client have many families."""
    doomed, spared = (signed_in(web, new_browser(), user) for _ in range(2))
    second = success(web.refresh(doomed["refresh_token"]))
    success(web.refresh(second["refresh_token"]))
    refusal(web.refresh(doomed["refresh_token"]), "invalid_grant")
    success(web.refresh(spared["refresh_token"]))


def test_a_stranger_cannot_kill_a_family(web: RelyingParty, party: Party, browser: Browser, user: User) -> None:
    """Another client that presents the token is refused, and changes nothing."""
    first = signed_in(web, browser, user)
    for _ in range(3):
        refusal(party("demo", "post").refresh(first["refresh_token"]), "invalid_grant")
    success(web.refresh(first["refresh_token"]))


def test_a_client_assertion_is_taken_once(party: Party) -> None:
    """RFC 7523 §3 (jti), P38: of twenty copies at once one is accepted."""
    it = party("demo", "jwt")
    form = {
        "grant_type": "refresh_token",
        "refresh_token": "x",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": it.assertion(),
    }
    nobody = replace(it, client=replace(it.client, token_endpoint_auth_method="tls_client_auth"))
    errors = Counter(answer.json()["error"] for answer in post_at_once(nobody, [form] * 20))
    # Authenticated, the one copy fails for its made-up refresh token; the others do not get that far.
    assert errors == {"invalid_grant": 1, "invalid_client": 19}


def test_sign_ins_at_once_do_not_disturb_each_other(web: RelyingParty, new_browser: NewBrowser, user: User) -> None:
    browsers = [new_browser() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda browser: web.tokens(browser, user), browsers))
    assert len({document["access_token"] for document in made}) == 8
