"""`tegata dev`: database, migrations, seed, server, in this order; and the way back when it is stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import NoReturn

import uvloop
from pydantic import SecretStr

from tegata.app import Backend, Development, Tegata
from tegata.cli.databases import open_backend, operator_storage
from tegata.cli.dev import told
from tegata.cli.dev.examples import example_api
from tegata.cli.dev.home import DEV, Home
from tegata.cli.dev.seeding import PLAYGROUND_TENANT, Seed, plant, read_seed
from tegata.cli.dev.ways import Ways
from tegata.cli.failures import OK, USAGE, CommandFailure
from tegata.cli.http_server import HttpServer, address_of, bind
from tegata.crypto.envelope import Envelope
from tegata.flows.admin.apply import Operator
from tegata.flows.admin.keys import check_master_key
from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, bootstrap
from tegata.postgres.embedded import EmbeddedPostgres
from tegata.postgres.migrate import migrate
from tegata.postgres.target import ConnectionTarget
from tegata.protocol.redirect_uris import is_loopback
from tegata.settings import Settings
from tegata.telemetry import logs

# Room for test runs; only for what the environment leaves open.
_DEFAULTS = {
    "throttle_account_failures": 50,
    "throttle_address_failures": 1000,
    "shutdown_seconds": 3,
    "log_format": "console",
    "log_level": "warning",
}


def run(*, reset: bool, environment: Mapping[str, str] = os.environ) -> int:
    """Run until a signal. Ctrl-C and SIGTERM while serving are a normal end: status 0."""
    settings = _settings(environment)
    home = Home(settings.home)
    logs.configure(level=settings.log_level, form=settings.log_format)
    with ExitStack() as stack:
        stack.enter_context(_terminated_as_exit())
        if reset and settings.database_url is not None:
            message = "--reset deletes what `tegata dev` has made itself; a database of yours it does not touch"
            raise CommandFailure(f"{message} (TEGATA_DATABASE_URL is set)", USAGE)
        home.prepare()
        stack.enter_context(home.locked())
        listener = stack.enter_context(bind(settings.host, settings.port))
        if reset:
            home.reset()
            home.prepare()
        ways = stack.enter_context(_database(settings, home))
        bootstrap(ways.administrator)
        migrate(ways.administrator)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(_completed(settings, home, listener), home, ways, listener))
    print("Tegata has stopped.", flush=True)
    return OK


def _settings(environment: Mapping[str, str]) -> Settings:
    given = {name: environment.get(f"TEGATA_{name.upper()}") for name in _DEFAULTS}
    defaults = {name: value for name, value in _DEFAULTS.items() if not given[name]}
    settings = Settings.from_environment(environment, environment="development", allow_loopback_http=True, **defaults)
    if not is_loopback(settings.host):
        raise CommandFailure(
            f"TEGATA_HOST is {settings.host}: `tegata dev` prints passwords, so it listens on loopback only; "
            "`tegata serve` is for others to reach",
            USAGE,
        )
    return settings


def _completed(settings: Settings, home: Home, listener: socket.socket) -> Settings:
    """Add what is known only now: the address, and the master key of this home."""
    host, port = address_of(listener)
    key = settings.master_key or SecretStr(home.master_key())
    base_url = (settings.base_url or f"http://{host}:{port}").rstrip("/")
    return settings.model_copy(update={"base_url": base_url, "master_key": key})


@contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Turn SIGTERM during start and stop into an exception, so that the database is stopped as well."""

    def leave(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _database(settings: Settings, home: Home) -> Iterator[Ways]:
    """Start the embedded server, or use the given one, and yield the ways into it."""
    if settings.database_url is not None:
        try:
            ways = Ways(ConnectionTarget.from_url(settings.database_url.get_secret_value()), embedded=False)
        except ValueError as error:
            raise CommandFailure(f"TEGATA_DATABASE_URL: {error}", USAGE) from None
        with _told(home, None):
            yield ways
    else:
        with EmbeddedPostgres(home.postgres) as administrator, _told(home, administrator):
            yield Ways(administrator, embedded=True)


@contextmanager
def _told(home: Home, target: ConnectionTarget | None) -> Iterator[None]:
    home.write_database(target)
    try:
        yield
    finally:
        home.forget_database()


async def _serve(settings: Settings, home: Home, ways: Ways, listener: socket.socket) -> None:
    assert settings.base_url is not None
    assert settings.master_key is not None
    base_url = settings.base_url
    seed = read_seed(home.secrets())
    home.write_secrets(seed.values)
    async with operator_storage(ways.entering(MAINTENANCE)) as storage:
        envelope = Envelope.from_text(settings.master_key.get_secret_value())
        await check_master_key(storage, envelope)
        await plant(Operator(storage, envelope), seed, base_url=base_url)

    async def open_() -> Backend:
        return await open_backend(ways.entering(APPLICATION), settings)

    app = Tegata(settings, open_, development=_development(seed, base_url))

    def started() -> None:
        home.write(DEV, told.dev_text(seed, base_url))
        print("\n".join(told.welcome(seed, base_url, dev_json=str(home.dev_json))), flush=True)

    server = HttpServer(app, shutdown_seconds=settings.shutdown_seconds, started=started)
    await app.start()
    try:
        await server.serve(sockets=[listener])
    finally:
        await app.stop()


def _development(seed: Seed, base_url: str) -> Development:
    api = example_api(f"{base_url}/{PLAYGROUND_TENANT}", told.audiences(seed))
    return Development(told.developer_pages(seed, base_url), {} if api is None else {told.API_PREFIX: api})
