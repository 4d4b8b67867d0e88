"""How long others may keep the JWKS is a setting, and the schedule of signing keys goes by the same one."""

from __future__ import annotations

import pytest

from tegata.settings import Settings, check_for_production, published_problem
from tegata.settings.environment import SettingsError
from tegata.testing.server import serving

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("settings", "said"), [({}, 300), ({"jwks_max_age_seconds": 7}, 7)], ids=["default", "set"])
async def test_the_jwks_says_how_long_it_may_be_kept(settings: dict[str, int], said: int) -> None:
    async with serving(**settings) as server:
        jwks = await server.request("GET", "/acme/jwks")
        metadata = await server.request("GET", "/acme/.well-known/openid-configuration")
    assert jwks.header("cache-control") == f"public, max-age={said}"
    assert metadata.header("cache-control") == "public, max-age=300"


def test_a_key_is_published_for_as_long_as_others_keep_the_jwks_and_a_minute() -> None:
    assert Settings().key_schedule.published_seconds == 300 + 60
    assert Settings(jwks_max_age_seconds=2).key_schedule.published_seconds == 62
    shortened = Settings(jwks_max_age_seconds=2, signing_key_published_seconds=3)
    assert shortened.key_schedule.published_seconds == 3


@pytest.mark.parametrize("published", [299, 300])
def test_a_key_that_would_sign_before_others_have_it_is_refused(published: int) -> None:
    """Who asked a moment before it was published got the answer a moment later, and keeps it from then on."""
    problem = published_problem(Settings(signing_key_published_seconds=published))
    assert problem is not None
    assert f"TEGATA_SIGNING_KEY_PUBLISHED_SECONDS is {published}" in problem
    with pytest.raises(SettingsError, match=f"TEGATA_SIGNING_KEY_PUBLISHED_SECONDS is {published}"):
        check_for_production(Settings(signing_key_published_seconds=published))


def test_a_key_that_others_have_for_certain_may_sign() -> None:
    assert published_problem(Settings(signing_key_published_seconds=301)) is None
    assert published_problem(Settings()) is None
