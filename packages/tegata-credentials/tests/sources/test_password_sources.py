"""Passwords that stay and passwords that rotate."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

import pytest

from tegata_credentials import (
    FixedPassword,
    IdentityUnavailable,
    PasswordSource,
    RotatingSecret,
    SyncFixedPassword,
    SyncPasswordSource,
    SyncRotatingSecret,
    TokenSource,
)

pytestmark = pytest.mark.anyio


@dataclass
class Vault:
    """Keeps a password, hands it out through a cache, and says what it was asked."""

    password: str = "first"
    cached: str = "first"
    asked: list[bool] = field(default_factory=list)
    is_down: bool = False

    def rotate(self, password: str) -> None:
        self.password = password

    def read(self, force: bool) -> str:
        self.asked.append(force)
        if self.is_down:
            raise IdentityUnavailable("unreachable")
        if force:
            self.cached = self.password
        return self.cached

    async def read_async(self, force: bool) -> str:
        return self.read(force)


async def test_a_fixed_password_stays_whatever_the_database_says():
    source: PasswordSource = FixedPassword("geheim")
    await source.rejected("geheim")
    assert await source.current() == "geheim"
    assert source.auth_method == "password"
    await source.close()


def test_a_fixed_password_for_threads_stays_too():
    source: SyncPasswordSource = SyncFixedPassword("geheim")
    source.rejected("geheim")
    assert source.current() == "geheim"
    source.close()


@pytest.mark.parametrize("kind", [FixedPassword, SyncFixedPassword])
def test_a_fixed_password_is_neither_shown_nor_pickled(kind):
    source = kind("geheim")
    assert "geheim" not in repr(source) + repr(vars(source))
    with pytest.raises(TypeError):
        pickle.dumps(source)


async def test_a_secret_is_read_once_and_used_until_its_age():
    vault = Vault()
    source = RotatingSecret(vault.read_async)
    assert [await source.current() for _ in range(3)] == ["first"] * 3
    assert vault.asked == [False]
    assert source.auth_method == "secret"


async def test_a_refused_secret_is_read_again_past_every_cache():
    vault = Vault()
    source = RotatingSecret(vault.read_async)
    old = await source.current()
    vault.rotate("second")
    await source.rejected(old)
    assert await source.current() == "second"
    assert vault.asked == [False, True]


async def test_a_known_secret_outlives_an_outage_of_its_store():
    vault = Vault()
    source = RotatingSecret(vault.read_async, max_age_seconds=0.0)
    await source.current()
    vault.is_down = True
    assert await source.current() == "first"


async def test_force_is_asked_for_until_it_has_succeeded(clock):
    vault = Vault()
    source = RotatingSecret(vault.read_async, clock=lambda: clock.wall, ticks=lambda: clock.ticks)
    old = await source.current()
    vault.rotate("second")
    await source.rejected(old)
    vault.is_down = True
    with pytest.raises(IdentityUnavailable):
        await source.current()
    vault.is_down = False
    clock.pass_by(1.0)
    assert await source.current() == "second"
    assert vault.asked == [False, True, True]


def test_a_secret_for_threads_is_read_again_past_every_cache():
    vault = Vault()
    source = SyncRotatingSecret(vault.read)
    old = source.current()
    vault.rotate("second")
    source.rejected(old)
    assert source.current() == "second"
    assert vault.asked == [False, True]


def test_every_source_fills_the_port(provider, sync_provider):
    source: PasswordSource = TokenSource(provider, auth_method="managed_identity")
    assert source.auth_method == "managed_identity"
