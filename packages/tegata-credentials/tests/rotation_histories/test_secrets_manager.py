"""Histories over Secrets Manager's stand-in: real HTTP, on which calls and answers are lost, throttled and doubled."""

from __future__ import annotations

from collections.abc import Callable

from .databases import HAPPENINGS, AlternatingWorld, SingleWorld
from .external import ExternalWorld
from .kits import FAULTS, SecretsManagerKit
from .profiles import tell
from .servers import Servers

NewKit = Callable[[], SecretsManagerKit]


def test_two_users_take_turns_in_secrets_manager(
    pair_15: Servers, secrets_manager_kit: NewKit, count: Callable[..., None]
):
    kind = "alternating users, Secrets Manager"
    tally = tell(kind, lambda: AlternatingWorld(secrets_manager_kit(), pair_15), (*HAPPENINGS, *FAULTS))
    count(f"histories of {kind}", **tally.figures())


def test_one_user_is_never_locked_out_in_secrets_manager(
    pair_15: Servers, secrets_manager_kit: NewKit, count: Callable[..., None]
):
    kind = "single user, Secrets Manager"
    tally = tell(kind, lambda: SingleWorld(secrets_manager_kit(), pair_15), (*HAPPENINGS, *FAULTS))
    count(f"histories of {kind}", **tally.figures())


def test_a_key_of_an_api_in_secrets_manager(secrets_manager_kit: NewKit, count: Callable[..., None]):
    kind = "generic token, Secrets Manager"
    tally = tell(kind, lambda: ExternalWorld(secrets_manager_kit()), tuple(FAULTS))
    count(f"histories of {kind}", **tally.figures())
