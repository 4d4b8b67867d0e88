"""Services and people want tokens all the time, while the server's login and its signing keys rotate.

No request may fail, and nobody who checks tokens may refuse one: neither who keeps keys as long as the server allows,
nor who has just read them; neither a token of the new key, nor one of the key before it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest

from tegata.flows.admin.key_times import MOST_PUBLISHED_KEYS

from .installation import Installation
from .load import Load, plain_client
from .rotations import DatabaseRotations, KeyRotations
from .verifiers import Jury

pytestmark = pytest.mark.anyio

DATABASE_ROTATIONS = 20
KEY_ROUNDS = 10  # of two keys each, one for each algorithm
SEED = 20_261_121


@pytest.mark.usefixtures("operator_environment")
async def test_no_request_fails_and_no_token_is_refused(installation: Installation, count: Callable[..., None]) -> None:
    database = DatabaseRotations(installation, SEED)
    async with installation.served() as served, plain_client() as http:
        jury = Jury(f"{installation.address}/live", http)
        keys = KeyRotations(installation, jury.kids)
        async with Load(installation, jury) as load:
            again = await rotating(jury, keys, database, load)
        database.close()
        logins = {str(login) for (login,) in installation.ask(LOGINS)}
    assert load.failures == []
    assert jury.refused == []
    # Each key was known everywhere before it signed, so nobody had to ask for an unknown one.
    assert jury.watched.hasty == 0
    assert min(jury.leads) > 0
    assert jury.watched.most <= MOST_PUBLISHED_KEYS
    rotated = dict(installation.ask(ROTATED))
    assert sum(rotated.values()) == keys.rotated
    assert min(rotated["ES256"], rotated["RS256"]) >= KEY_ROUNDS
    assert keys.dropped > 0
    assert len(jury.kids) > 2 * KEY_ROUNDS
    assert again > 2 * KEY_ROUNDS
    assert database.done == DATABASE_ROTATIONS
    # The server has followed, and nobody had to tell it.
    assert logins <= {"tegata_app_a", "tegata_app_b"}
    assert len({line["version"] for line in served.told("secret.changed")}) >= DATABASE_ROTATIONS // 2
    count(
        "live server across rotations",
        database_rotations=database.done,
        signing_key_rotations=keys.rotated,
        by_commands=database.commands + keys.commands,
        faults=database.faults,
        repeated_steps=database.repeated,
        requests=load.requests,
        failed=len(load.failures),
        tokens=jury.tokens,
        checks=jury.checks,
        refused=len(jury.refused),
        readings_for_unknown_keys=jury.watched.hasty,
        seconds_a_key_was_known_before_it_signed=f"{min(jury.leads):.1f}",
    )


LOGINS = "select distinct usename::text from pg_stat_activity where usename like 'tegata_app%'"
ROTATED = """
    select details ->> 'algorithm', count(*) from tegata.audit_event where type = 'signing_key.rotated' group by 1
"""


async def rotating(jury: Jury, keys: KeyRotations, database: DatabaseRotations, load: Load) -> int:
    """Rotate both, each in a thread; whenever keys have turned, check what is still valid. Return how much that was.

    Everybody asks for something between two rotations of the login.
    """
    loop, turned, again = asyncio.get_running_loop(), asyncio.Event(), 0

    def turn() -> None:
        loop.call_soon_threadsafe(turned.set)

    both = asyncio.gather(
        asyncio.to_thread(keys.rotate_many, KEY_ROUNDS, time.sleep, turn),
        asyncio.to_thread(database.rotate_many, DATABASE_ROTATIONS, load.wait_until_each_goes_on),
    )
    both.add_done_callback(lambda _: turned.set())
    while not both.done():
        await turned.wait()
        turned.clear()
        again += await jury.look_again()
    await both
    return again
