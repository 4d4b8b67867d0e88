"""Nothing that belongs to one tenant is worth anything at another (ARCHITECTURE §4.6, P06, P10, P11).

Each test runs in both directions: `mine` is where the thing comes from, `theirs` where it is tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from .contract import Tenant, User
from .fixtures import NewBrowser
from .pages import Page
from .relying_party import Browser, Landing, Party, RelyingParty, basic, refusal, success


@dataclass(frozen=True, slots=True)
class Wall:
    mine: RelyingParty
    theirs: RelyingParty
    party: Party

    @property
    def user(self) -> User:
        return self.mine.tenant.users[0]

    def intruder(self, suffix: str = "web") -> RelyingParty:
        """A client of mine that talks to their endpoints."""
        own = self.party(self.mine.tenant.name, suffix)
        return replace(own, metadata=self.theirs.metadata)


@pytest.fixture(params=["demo at other", "other at demo"])
def wall(request: pytest.FixtureRequest, party: Party) -> Wall:
    mine, theirs = request.param.split(" at ")
    return Wall(party(mine, "web"), party(theirs, "web"), party)


@pytest.fixture
def tokens(wall: Wall, browser: Browser) -> dict[str, Any]:
    return wall.mine.tokens(browser, wall.user, scope="openid email offline_access")


@pytest.mark.parametrize("suffix", ["web", "post", "service", "jwt"])
@pytest.mark.parametrize("endpoint", ["token", "introspection", "revocation"])
def test_client_is_unknown(wall: Wall, endpoint: str, suffix: str) -> None:
    form = {"grant_type": "client_credentials", "token": "x"}
    refusal(wall.intruder(suffix).post(endpoint, form), "invalid_client", 401)


def test_public_client_is_unknown(wall: Wall) -> None:
    answer = wall.intruder("spa").token(grant_type="refresh_token", refresh_token="x")
    assert answer.status_code in {400, 401}
    assert answer.json()["error"] == "invalid_client"


def test_client_cannot_start_an_authorization(wall: Wall, browser: Browser) -> None:
    shown = browser.visit(wall.intruder().attempt().url)
    assert isinstance(shown, Page)
    assert 400 <= shown.status < 500


def test_secret_of_a_namesake_does_not_help(wall: Wall) -> None:
    """Their client's id with my client's secret."""
    secret = wall.mine.client.client_secret or ""
    headers = {"authorization": basic(wall.theirs.client.client_id, secret)}
    answer = wall.theirs.http.post(
        wall.theirs.endpoint("token"), data={"grant_type": "client_credentials"}, headers=headers
    )
    refusal(answer, "invalid_client", 401)


def test_client_assertion_is_refused(wall: Wall) -> None:
    """RFC 7523 §3: by audience, by issuer and by key; each alone must do."""
    mine, theirs = wall.party(wall.mine.tenant.name, "jwt"), wall.party(wall.theirs.tenant.name, "jwt")
    their_id = theirs.client.client_id
    tried = [
        mine.assertion(),  # my client, for me, sent to them
        mine.assertion(aud=theirs.metadata["issuer"]),  # my client, for them
        mine.assertion(iss=their_id, sub=their_id, aud=theirs.metadata["issuer"]),  # their client's name, my key
        theirs.assertion(aud=mine.metadata["issuer"]),  # their client, but meant for me
    ]
    for assertion in tried:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        refusal(theirs.http.post(theirs.endpoint("token"), data=form), "invalid_client", 401)


def test_code_is_refused_and_stays_good_at_home(wall: Wall, browser: Browser) -> None:
    """A stranger must not be able to burn a code either."""
    attempt = wall.mine.attempt()
    landing = browser.sign_in(attempt.url, wall.user)
    refusal(wall.theirs.redeem(attempt, landing), "invalid_grant")
    success(wall.mine.redeem(attempt, landing))


def test_refresh_token_is_refused_and_stays_good_at_home(wall: Wall, tokens: dict[str, Any]) -> None:
    refusal(wall.theirs.refresh(tokens["refresh_token"]), "invalid_grant")
    success(wall.mine.refresh(tokens["refresh_token"]))


def test_access_token_opens_no_userinfo(wall: Wall, tokens: dict[str, Any]) -> None:
    answer = wall.theirs.userinfo(tokens["access_token"])
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    body = wall.theirs.http.post(wall.theirs.endpoint("userinfo"), data={"access_token": tokens["access_token"]})
    assert body.status_code == 401


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_tokens_are_inactive_at_introspection(wall: Wall, tokens: dict[str, Any], kind: str) -> None:
    assert wall.theirs.introspect(tokens[kind]) == {"active": False}
    assert wall.mine.introspect(tokens[kind])["active"] is True


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
def test_tokens_cannot_be_revoked(wall: Wall, tokens: dict[str, Any], kind: str) -> None:
    wall.theirs.post("revocation", {"token": tokens[kind]})
    assert wall.mine.introspect(tokens[kind])["active"] is True


def test_session_is_not_seen(wall: Wall, browser: Browser, tokens: dict[str, Any]) -> None:
    """Signed in here, nobody there."""
    landing = browser.visit(wall.theirs.attempt(prompt="none").url)
    assert isinstance(landing, Landing)
    assert landing.params["error"] == "login_required"


def test_session_cookie_forged_onto_the_other_path_is_worthless(wall: Wall, browser: Browser) -> None:
    """Every cookie of mine, sent to them by hand under every cookie name and path."""
    wall.mine.tokens(browser, wall.user)
    jar = {cookie.name: cookie.value or "" for cookie in browser.http.cookies.jar}
    renamed = {name.replace(wall.mine.tenant.name, wall.theirs.tenant.name): value for name, value in jar.items()}
    header = "; ".join(f"{name}={value}" for name, value in (jar | renamed).items())
    with httpx2.Client() as bare:
        answer = bare.get(wall.theirs.attempt(prompt="none").url, headers={"cookie": header}, follow_redirects=False)
    assert "error=login_required" in answer.headers["location"]


def test_id_token_hint_is_refused_silently(wall: Wall, new_browser: NewBrowser, tokens: dict[str, Any]) -> None:
    """Core §3.1.2.1: a hint of a stranger never signs anybody in."""
    browser = new_browser()
    wall.theirs.tokens(browser, wall.theirs.tenant.users[0])
    landing = browser.visit(wall.theirs.attempt(prompt="none", id_token_hint=tokens["id_token"]).url)
    if isinstance(landing, Landing):
        assert landing.params["error"] in {"login_required", "invalid_request"}
    else:
        assert 400 <= landing.status < 500


def test_id_token_hint_ends_no_session_and_redirects_nowhere(
    wall: Wall, new_browser: NewBrowser, tokens: dict[str, Any]
) -> None:
    browser = new_browser()
    wall.theirs.tokens(browser, wall.theirs.tenant.users[0])
    wanted = wall.theirs.client.post_logout_redirect_uris[0]
    query = urlencode({"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": wanted})
    assert isinstance(browser.visit(wall.theirs.endpoint("end_session") + "?" + query), Page)
    landing = browser.visit(wall.theirs.attempt(prompt="none").url)
    assert isinstance(landing, Landing)
    assert "code" in landing.params


def test_logging_out_here_keeps_the_session_there(wall: Wall, browser: Browser) -> None:
    """One browser, two tenants, two sessions."""
    wall.theirs.tokens(browser, wall.theirs.tenant.users[0])
    here = wall.mine.tokens(browser, wall.user)
    shown = browser.visit(wall.mine.endpoint("end_session") + "?" + urlencode({"id_token_hint": here["id_token"]}))
    if isinstance(shown, Page) and shown.form_with(button="logout-approve"):
        browser.press(shown, "logout-approve")
    landing = browser.visit(wall.theirs.attempt(prompt="none").url)
    assert isinstance(landing, Landing)
    assert "code" in landing.params


def test_passwords_of_one_tenant_open_no_door_at_the_other(wall: Wall, browser: Browser) -> None:
    shown = browser.visit(wall.theirs.attempt().url)
    assert isinstance(shown, Page)
    answer = browser.press(shown, "login-submit", username=wall.user.username, password=wall.user.password)
    same = {(u.username, u.password) for u in wall.theirs.tenant.users}
    if (wall.user.username, wall.user.password) in same:
        pytest.skip("both tenants have a user of that name and password")
    assert isinstance(answer, Page)
    assert "login-error" in answer.texts


def test_sign_in_page_of_one_tenant_cannot_be_finished_at_the_other(wall: Wall, browser: Browser) -> None:
    """The form of mine, posted to the other tenant's address."""
    shown = browser.visit(wall.mine.attempt().url)
    assert isinstance(shown, Page)
    form = shown.form_with(button="login-submit")
    assert form is not None
    target = form.action.replace(f"/{wall.mine.tenant.name}/", f"/{wall.theirs.tenant.name}/")
    assert target != form.action
    person = wall.theirs.tenant.users[0]
    answer = browser.visit(
        target, data=form.data(button="login-submit", username=person.username, password=person.password)
    )
    assert isinstance(answer, Page)
    assert answer.status >= 400 or answer.form_with(field_name="password") is not None


def test_example_api_trusts_its_own_tenant_alone(wall: Wall, browser: Browser, demo: Tenant) -> None:
    """The API belongs to `demo`."""
    api = demo.issuer.rsplit("/", 1)[0] + "/example-api/whoami"
    token = wall.mine.tokens(browser, wall.user)["access_token"]
    answer = wall.mine.http.get(api, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == (200 if wall.mine.tenant.name == "demo" else 401)
