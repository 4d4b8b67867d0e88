"""Fixtures that the acceptance suite and the ledger share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from . import dev_server
from .contract import Dev, Tenant, User, read_dev
from .extra_clients import add_extra_clients, be_patient
from .relying_party import Browser, Party, RelyingParty, plain_client

NewBrowser = Callable[[], Browser]
SHARED = pytest.StashKey[dev_server.SharedRun]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Before the first test of any worker: say that this one will need the server."""
    needed = any("home" in getattr(item, "fixturenames", ()) for item in session.items)
    if needed and SHARED not in session.config.stash and "TEGATA_ACCEPTANCE_HOME" not in os.environ:
        run = dev_server.SharedRun(os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid())
        run.enter()
        session.config.stash[SHARED] = run


def pytest_sessionfinish(session: pytest.Session) -> None:
    if SHARED in session.config.stash:
        session.config.stash[SHARED].leave()
        del session.config.stash[SHARED]


@pytest.fixture(scope="session")
def home(pytestconfig: pytest.Config) -> Path:
    """State directory of the one `tegata dev` that all tests of the run share."""
    given = os.environ.get("TEGATA_ACCEPTANCE_HOME")
    return Path(given) if given else pytestconfig.stash[SHARED].home(be_patient)


@pytest.fixture(scope="session")
def dev(home: Path) -> Dev:
    return read_dev(home)


@pytest.fixture(scope="session")
def demo(dev: Dev) -> Tenant:
    return dev.tenant("demo")


@pytest.fixture(scope="session")
def other(dev: Dev) -> Tenant:
    return dev.tenant("other")


@pytest.fixture(scope="session")
def user(demo: Tenant) -> User:
    """Somebody at `demo`."""
    return demo.users[0]


@pytest.fixture(scope="session")
def other_user(other: Tenant) -> User:
    return other.users[0]


@pytest.fixture(scope="session")
def http() -> Iterator[httpx2.Client]:
    """The back channel: keeps no cookies that matter, follows nothing."""
    with plain_client() as client:
        yield client


@pytest.fixture
def new_browser(dev: Dev) -> Iterator[NewBrowser]:
    """Makes browsers, each with cookies of its own."""
    made: list[Browser] = []

    def make() -> Browser:
        made.append(Browser(dev.base_url))
        return made[-1]

    yield make
    for browser in made:
        browser.close()


@pytest.fixture
def browser(new_browser: NewBrowser) -> Browser:
    return new_browser()


@pytest.fixture(scope="session")
def party(dev: Dev, http: httpx2.Client) -> Party:
    """`party("demo", "web")`: the relying party `demo-web`, with the metadata it discovered."""
    known: dict[tuple[str, str], RelyingParty] = {}

    def find(tenant: str, suffix: str) -> RelyingParty:
        if (tenant, suffix) not in known:
            known[tenant, suffix] = RelyingParty.discover(dev.tenant(tenant), suffix, http)
        return known[tenant, suffix]

    return find


@pytest.fixture(scope="session")
def extra(dev: Dev, home: Path, http: httpx2.Client) -> Callable[[str], RelyingParty]:
    """`extra("opaque")`: the relying party `demo-opaque`, one of `extra_clients.CHOICES`."""
    tenant = add_extra_clients(home, dev).tenant("demo")
    known: dict[str, RelyingParty] = {}

    def find(suffix: str) -> RelyingParty:
        if suffix not in known:
            known[suffix] = RelyingParty.discover(tenant, suffix, http)
        return known[suffix]

    return find


@pytest.fixture(scope="session")
def web(party: Party) -> RelyingParty:
    """`demo-web`: client_secret_basic, code and refresh."""
    return party("demo", "web")
