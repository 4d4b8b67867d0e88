"""What an operator may choose for a client or a tenant, seen from outside; changes need no restart (P105)."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import jwt
import pytest

from .contract import User
from .extra_clients import tegata
from .fixtures import NewBrowser
from .pages import Page
from .relying_party import Browser, Party, RelyingParty, refusal, success

Extra = Callable[[str], RelyingParty]


def eventually(check: Callable[[], bool]) -> bool:
    """Other processes' changes arrive by notification: soon, not at once."""
    deadline = time.monotonic() + 25  # after 30 s nobody would have to be told
    while not (done := check()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return done


def subject(it: RelyingParty, browser: Browser, user: User) -> str:
    return str(it.verify(it.tokens(browser, user)["id_token"], audience=it.client.client_id)["sub"])


def test_client_chooses_its_algorithms(extra: Extra, browser: Browser, user: User) -> None:
    it = extra("es256")
    tokens = it.tokens(browser, user)
    assert jwt.get_unverified_header(tokens["id_token"])["alg"] == "ES256"
    assert jwt.get_unverified_header(tokens["access_token"])["alg"] == "RS256"
    it.verify(tokens["id_token"], audience=it.client.client_id)
    it.verify(tokens["access_token"])


def test_opaque_tokens_say_nothing_and_work(extra: Extra, browser: Browser, user: User) -> None:
    """RFC 7662: what a resource server cannot read it asks about."""
    it = extra("opaque")
    tokens = it.tokens(browser, user, scope="openid email offline_access")
    assert tokens["access_token"].count(".") != 2
    assert it.introspect(tokens["access_token"])["active"] is True
    told = success(it.userinfo(tokens["access_token"]))
    assert told["sub"] == it.verify(tokens["id_token"], audience=it.client.client_id)["sub"]
    again = success(it.refresh(tokens["refresh_token"]))
    assert it.introspect(again["access_token"])["active"] is True
    it.post("revocation", {"token": again["access_token"]})
    assert it.introspect(again["access_token"]) == {"active": False}
    assert it.userinfo(again["access_token"]).status_code == 401


def test_opaque_token_of_one_tenant_is_unknown_at_the_other(
    extra: Extra, party: Party, browser: Browser, user: User
) -> None:
    """P11: the look-up by digest is inside the wall too."""
    token = extra("opaque").tokens(browser, user)["access_token"]
    stranger = party("other", "web")
    assert stranger.introspect(token) == {"active": False}
    assert stranger.userinfo(token).status_code == 401
    stranger.post("revocation", {"token": token})
    assert extra("opaque").introspect(token)["active"] is True


def test_code_replay_revokes_opaque_tokens(extra: Extra, browser: Browser, user: User) -> None:
    """RFC 6749 §4.1.2."""
    it = extra("opaque")
    attempt = it.attempt()
    landing = browser.sign_in(attempt.url, user)
    token = success(it.redeem(attempt, landing))["access_token"]
    refusal(it.redeem(attempt, landing), "invalid_grant")
    assert it.introspect(token) == {"active": False}


def test_pairwise_subjects_differ_by_sector_and_stay_the_same(
    extra: Extra, web: RelyingParty, new_browser: NewBrowser, user: User
) -> None:
    """OIDC Core §8.1."""
    first, second = extra("pairwise"), extra("pairwise2")
    once = subject(first, new_browser(), user)
    assert subject(first, new_browser(), user) == once
    assert len({once, subject(second, new_browser(), user), subject(web, new_browser(), user)}) == 3
    tokens = first.tokens(new_browser(), user)
    assert success(first.userinfo(tokens["access_token"]))["sub"] == once
    assert first.introspect(tokens["access_token"])["sub"] == once


def test_first_party_client_asks_for_no_consent(extra: Extra, browser: Browser, user: User) -> None:
    """P35."""
    extra("firstparty").tokens(browser, user, scope="openid profile email address phone offline_access")
    assert browser.trail == ["sign-in"]


def test_disabled_client_is_nobody(extra: Extra, browser: Browser) -> None:
    it = extra("disabled")
    shown = browser.visit(it.attempt().url)
    assert isinstance(shown, Page)
    assert 400 <= shown.status < 500
    refusal(it.refresh("x"), "invalid_client", 401)


def test_legacy_client_may_leave_pkce_out_but_not_strip_it(extra: Extra, browser: Browser, user: User) -> None:
    """RFC 9700 §4.8.2: a verifier without a challenge is a downgrade."""
    it = extra("legacy")
    attempt = it.attempt(pkce=False)
    landing = browser.sign_in(attempt.url, user)
    refusal(it.redeem(attempt, landing, code_verifier="v" * 43), "invalid_grant")


@pytest.mark.parametrize("suffix", ["legacy", "opaque", "pairwise"])
def test_extra_clients_are_walled_off_too(
    extra: Extra, party: Party, browser: Browser, user: User, suffix: str
) -> None:
    it = extra(suffix)
    attempt = it.attempt()
    landing = browser.sign_in(attempt.url, user)
    refusal(party("other", "web").redeem(attempt, landing), "invalid_grant")
    success(it.redeem(attempt, landing))


def test_rotated_keys_sign_and_old_tokens_still_verify(home: Path, party: Party) -> None:
    """P62: the next key was published before it signs, and the previous one stays."""
    service = party("other", "service")
    old = success(service.token(grant_type="client_credentials"))["access_token"]
    before = {key["kid"] for key in service.keys()["keys"]}
    done = tegata(home, "keys", "rotate", "--tenant", "other")
    assert done.returncode == 0, done.stderr

    def kid() -> str:
        token = success(service.token(grant_type="client_credentials"))["access_token"]
        return str(jwt.get_unverified_header(token)["kid"])

    signed_with = jwt.get_unverified_header(old)["kid"]
    assert eventually(lambda: kid() != signed_with)
    assert kid() in before
    service.verify(old)
    assert service.introspect(old)["active"] is True


def test_exported_tenant_applies_without_a_difference(home: Path) -> None:
    """P100: export equals apply's input."""
    exported = tegata(home, "export", "--tenant", "other")
    assert exported.returncode == 0, exported.stderr
    difference = tegata(home, "diff", "-f", "-", given=exported.stdout)
    assert difference.returncode == 0, difference.stdout + difference.stderr


def test_doctor_finds_nothing_on_the_running_database(home: Path) -> None:
    done = tegata(home, "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
