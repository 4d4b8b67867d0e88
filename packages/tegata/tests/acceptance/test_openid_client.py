"""npm openid-client, a certified relying party library, uses every endpoint."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from .contract import Client, Tenant, User
from .fixtures import NewBrowser
from .node import step, succeeded
from .relying_party import Browser, Landing, RelyingParty, refusal

pytestmark = pytest.mark.foreign


def signed_in(
    tenant: Tenant, client: Client, browser: Browser, user: User, scope: str = "openid profile email", **parameters: str
) -> dict[str, Any]:
    """The whole code flow: tokens and ID token claims as the library accepted them."""
    begun = succeeded(
        step("begin", tenant, client, redirect_uri=client.redirect_uris[0], scope=scope, parameters=parameters)
    )
    landing = browser.sign_in(begun["url"], user)
    return succeeded(step("redeem", tenant, client, landing=asdict(landing), **_remembered(begun)))


def _remembered(begun: dict[str, Any]) -> dict[str, Any]:
    return {name: begun[name] for name in ("code_verifier", "state", "nonce")}


@pytest.mark.parametrize("algorithm", ["oidc", "oauth2"])
def test_discovers_the_server_at_both_well_known_addresses(demo: Tenant, algorithm: str) -> None:
    """OIDC Discovery §4, RFC 8414 §3.1."""
    found = succeeded(step("discover", demo, demo.client("web"), algorithm=algorithm))
    assert found["issuer"] == demo.issuer
    assert found["authorization_response_iss_parameter_supported"] is True


@pytest.mark.parametrize("suffix", ["web", "post", "spa", "jwt"])
def test_signs_in_with_each_client_authentication(demo: Tenant, browser: Browser, user: User, suffix: str) -> None:
    done = signed_in(demo, demo.client(suffix), browser, user)
    assert done["claims"]["sub"]
    assert done["tokens"]["token_type"].lower() == "bearer"


@pytest.mark.parametrize("tenant_name", ["demo", "other"])
def test_signs_in_at_each_tenant(demo: Tenant, other: Tenant, browser: Browser, tenant_name: str) -> None:
    tenant = {"demo": demo, "other": other}[tenant_name]
    assert signed_in(tenant, tenant.client("web"), browser, tenant.users[0])["claims"]["iss"] == tenant.issuer


def test_reads_a_form_post_answer(demo: Tenant, browser: Browser, user: User) -> None:
    """OAuth 2.0 Form Post Response Mode §2."""
    assert signed_in(demo, demo.client("web"), browser, user, response_mode="form_post")["claims"]["sub"]


def test_reads_userinfo_of_the_same_subject(demo: Tenant, browser: Browser, user: User) -> None:
    done = signed_in(demo, demo.client("web"), browser, user)
    told = succeeded(
        step(
            "userinfo",
            demo,
            demo.client("web"),
            access_token=done["tokens"]["access_token"],
            subject=done["claims"]["sub"],
        )
    )
    assert told["sub"] == done["claims"]["sub"]
    assert told["email"]


def test_refreshes_and_keeps_the_subject(demo: Tenant, browser: Browser, user: User) -> None:
    web = demo.client("web")
    done = signed_in(demo, web, browser, user, scope="openid offline_access")
    again = succeeded(step("refresh", demo, web, refresh_token=done["tokens"]["refresh_token"]))
    assert again["tokens"]["access_token"] != done["tokens"]["access_token"]
    if again["claims"]:
        assert again["claims"]["sub"] == done["claims"]["sub"]


def test_introspects_and_revokes(demo: Tenant, browser: Browser, user: User) -> None:
    web = demo.client("web")
    token = signed_in(demo, web, browser, user)["tokens"]["access_token"]
    assert succeeded(step("introspect", demo, web, token=token))["active"] is True
    succeeded(step("revoke", demo, web, token=token))
    assert succeeded(step("introspect", demo, web, token=token)) == {"active": False}


def test_a_service_gets_a_token_of_its_own(demo: Tenant) -> None:
    done = succeeded(step("clientCredentials", demo, demo.client("service"), parameters={}))
    assert "refresh_token" not in done["tokens"]


def test_signs_out_and_comes_back(demo: Tenant, browser: Browser, user: User, web: RelyingParty) -> None:
    """RP-Initiated Logout §2: afterwards nobody is signed in."""
    client = demo.client("web")
    done = signed_in(demo, client, browser, user)
    wanted = client.post_logout_redirect_uris[0]
    parameters = {"id_token_hint": done["tokens"]["id_token"], "post_logout_redirect_uri": wanted, "state": "s1"}
    url = succeeded(step("endSession", demo, client, parameters=parameters))["url"]
    shown = browser.visit(url)
    if not isinstance(shown, Landing):
        shown = browser.press(shown, "logout-approve")
    assert isinstance(shown, Landing)
    assert shown.url.startswith(wanted)
    assert shown.params == {"state": "s1"}
    answer = browser.visit(web.attempt(prompt="none").url)
    assert isinstance(answer, Landing)
    assert answer.params["error"] == "login_required"


def test_library_refuses_an_answer_that_is_not_its_own(demo: Tenant, new_browser: NewBrowser, user: User) -> None:
    """The control: with another request's state the library must fail, so that its successes mean something."""
    web = demo.client("web")
    begun = succeeded(step("begin", demo, web, redirect_uri=web.redirect_uris[0], scope="openid", parameters={}))
    landing = new_browser().sign_in(begun["url"], user)
    result = step("redeem", demo, web, landing=asdict(landing), **(_remembered(begun) | {"state": "another"}))
    assert "failed" in result


def test_library_reports_the_servers_own_error(demo: Tenant, browser: Browser, user: User, web: RelyingParty) -> None:
    """A code is refused when its verifier is wrong, and stays refused. RFC 7636 §4.6."""
    client = demo.client("web")
    begun = succeeded(step("begin", demo, client, redirect_uri=client.redirect_uris[0], scope="openid", parameters={}))
    landing = browser.sign_in(begun["url"], user)
    wrong = _remembered(begun) | {"code_verifier": "w" * 43}
    result = step("redeem", demo, client, landing=asdict(landing), **wrong)
    assert result["failed"]["error"] == "invalid_grant"
    form = {"grant_type": "authorization_code", "code": landing.code, "redirect_uri": client.redirect_uris[0]}
    refusal(web.token(**form, code_verifier=begun["code_verifier"]), "invalid_grant")
