"""While requests go through the chain without a pause: what may change without one of them failing."""

from __future__ import annotations

import base64
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from chain import (
    STRANGER,
    UNUSED,
    Back,
    Chain,
    FrontLoadBalancer,
    LoggedIn,
    Names,
    free_port,
    run_chain,
    wait_until,
)

from tegata_verify.keys import CachePolicy
from tegata_verify.testing import TestAlb, TestIssuer

THREADS, MOST = 3, 20_000


class Load:
    """Requests one after another in each of a few browsers, until the end of the block; what they were answered.

    A browser keeps its connection, and takes the next of `sessions` for each request.
    """

    def __init__(self, url: str, sessions: list[str]) -> None:
        self.url, self.sessions = url, sessions
        self.statuses: Counter[int] = Counter()
        self._ended = threading.Event()
        self._counting = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(browser,)) for browser in range(THREADS)]
        self._answers = [0] * THREADS

    def _run(self, own: int) -> None:
        with httpx2.Client(base_url=self.url, timeout=60, trust_env=False, verify=UNUSED) as browser:
            number = 0
            while not self._ended.is_set() and self.answered < MOST:
                session = self.sessions[number % len(self.sessions)]
                number += 1
                try:
                    status = browser.get("/me", headers={"cookie": session}).status_code
                except httpx2.HTTPError:
                    status = 0
                with self._counting:
                    self.statuses[status] += 1
                    self._answers[own] += 1

    @property
    def answered(self) -> int:
        return self.statuses.total()

    @property
    def failed(self) -> int:
        return self.answered - self.statuses[200]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for(self, more: int) -> None:
        """Return when so many more have been answered in each browser: the last of them were asked after the call."""
        goals = [answers + more for answers in self._answers]
        wait_until(lambda: all(map(int.__ge__, self._answers, goals)), f"{more} answers for each")


def test_another_address_of_the_back_is_followed_without_a_reload(chain: Chain, count) -> None:
    workers = chain.nginx.workers
    with Load(chain.front.url, [chain.session]) as load:
        load.wait_for(4)
        for address in ("127.0.0.2", "127.0.0.1"):
            begun = chain.nginx.read_logs().count(f'"back":"{address}:')
            chain.names.addresses = [address]
            wait_until(
                lambda: chain.nginx.read_logs().count(f'"back":"{address}:') > begun,  # noqa: B023 - used at once
                f"requests at {address}",
            )
            load.wait_for(4)
    count("Plan B: the back's address changes", changes=2, requests=load.answered, failed=load.failed)
    assert load.failed == 0
    assert chain.nginx.workers == workers


def test_nobody_misses_an_address_that_is_switched_off_after_the_name_has_moved(start_nginx, count) -> None:
    old_host, new_host, port = "127.0.0.4", "127.0.0.5", free_port()
    with ExitStack() as stack:
        names = stack.enter_context(Names(old_host))
        new = stack.enter_context(Back(new_host, port))
        nginx = start_nginx(back_port=port, resolver_port=names.port)
        front = FrontLoadBalancer(
            ("127.0.0.1", nginx.port), TestAlb(TestIssuer()), lambda name, word: None, unauthenticated="allow"
        )
        url = stack.enter_context(front).url
        with Back(old_host, port) as old, Load(url, [""]) as load:
            load.wait_for(4)
            names.addresses = [new_host]
            seen = -1
            # Until nginx, which has one worker here, sends nobody there: the second answer of each browser was asked
            # for after the first, so what is under way then goes to the new address.
            while old.count("/me") != seen:
                seen = old.count("/me")
                load.wait_for(2)
            old.shutdown()
            old.server_close()
            load.wait_for(30)
        served = (old.count("/me"), new.count("/me"))
    count("Plan B: the back's old address is switched off", requests=load.answered, failed=load.failed)
    assert load.failed == 0
    assert min(served) >= 10


def test_nothing_fails_while_nginx_is_reloaded(chain: Chain, count) -> None:
    with Load(chain.front.url, [chain.session]) as load:
        for _ in range(3):
            chain.nginx.reload()
            load.wait_for(4)
    count("Plan B: nginx is reloaded", reloads=3, requests=load.answered, failed=load.failed)
    assert load.failed == 0


@pytest.fixture
def fresh(nginx: str, stand_in) -> Iterator[Chain]:
    """A chain of its own, whose application has just started: how often it may ask for keys counts here."""
    with (
        tempfile.TemporaryDirectory(prefix="plan-b-") as directory,
        run_chain(stand_in, Path(directory), nginx=nginx, backs=("127.0.0.1",)) as chain,
    ):
        yield chain


def log_in(chain: Chain) -> LoggedIn:
    user = chain.pool.log_in("visitor", "Passw0rd!x")
    assert user is not None
    return user


def test_keys_change_at_the_issuer_and_at_the_front(fresh: Chain, count) -> None:
    """Users who logged in before go on with the old key's tokens, those who come after bring the new one's."""
    sessions, asked = [fresh.session], fresh.documents.fetches
    with Load(fresh.front.url, sessions) as load:
        load.wait_for(4)
        begun = time.monotonic()
        fresh.pool.rotate()
        after = log_in(fresh)
        assert after.access.split(".")[0] != fresh.user.access.split(".")[0]
        sessions.append(fresh.front.begin_session(after))
        load.wait_for(7)
        fresh.alb.rotate()
        load.wait_for(7)
        # Keys that there are not: nobody asks for them now that the issuer has just been asked.
        send_random_names(fresh, 50)
        load.wait_for(4)
        waits = int((time.monotonic() - begun) / CachePolicy().unknown_kid)
    issuer = asked[fresh.pool.keys_path]
    count(
        "Plan B: keys change, and 50 tokens name keys at random",
        requests=load.answered,
        failed=load.failed,
        fetches_of_the_issuers_keys=issuer,
        fetches_of_the_fronts_keys=asked.total() - issuer,
    )
    assert load.failed == 0
    front = [asked[path] for path in asked if path != fresh.pool.keys_path]
    assert front == [1, 1]
    # Once at first, once for the new key; for those made up, not before the time has passed that lies between.
    assert 2 <= issuer <= 2 + waits


def send_random_names(chain: Chain, times: int) -> None:
    token = chain.pool.sign({"iss": chain.pool.issuer, "exp": 2**31})
    with chain.open(STRANGER) as stranger:
        for number in range(times):
            named = f"{encode({'alg': 'RS256', 'kid': f'random-{number}'})}.{token.partition('.')[2]}"
            assert stranger.get("/me", headers={"authorization": f"Bearer {named}"}).status_code == 401


def encode(header: dict[str, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
