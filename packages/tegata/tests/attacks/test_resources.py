"""Resource indicators at the token endpoint (RFC 8707 §2.2)."""

from __future__ import annotations

import pytest

from tegata.testing.relying_party import Browser, RelyingParty
from tegata.testing.server import API, Server

pytestmark = pytest.mark.anyio


async def test_a_code_gives_no_token_for_a_resource_that_was_not_asked_for(server: Server) -> None:
    party = RelyingParty(server, "own")
    answer = await party.authorize(Browser(server))
    assert (await party.redeem(answer["code"], resource=API)).json["error"] == "invalid_target"


async def test_consent_for_one_resource_is_no_consent_for_another(server: Server) -> None:
    """The consent page lists resources, so the person believes to decide about them."""
    party, browser = RelyingParty(server, "web"), Browser(server)
    await party.authorize(browser, scope="openid read")
    reply = await browser.get(party.url(scope="openid read", resource=API))
    assert "/consent?" in reply.url
