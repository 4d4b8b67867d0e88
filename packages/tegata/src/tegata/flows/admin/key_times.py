"""How long signing keys are published, sign and are kept: figures that settings, the JWKS and rotations agree on."""

from __future__ import annotations

from dataclasses import dataclass

# The longest life that documents may give an access or ID token.
LONGEST_TOKEN_SECONDS = 24 * 3600
# For clocks that differ and verifiers that keep a JWKS longer than they should.
MARGIN_SECONDS = 24 * 3600
# How long a previous key stays published. Not the life of tokens as it is set now: a token lives as long as was set
# when it was signed, also if that has been shortened since or its client is gone.
KEPT_SECONDS = LONGEST_TOKEN_SECONDS + MARGIN_SECONDS
# What a JWKS says of its own age (`max-age`) unless a setting says otherwise.
JWKS_MAX_AGE_SECONDS = 300
# Workers keep keys for 30 s if no notification reaches them (`flows.directory`), and 30 s are for clocks.
_BEYOND_MAX_AGE_SECONDS = 30 + 30
# The ALB of AWS takes no more of one JWKS; others take fewer than endless ones as well.
MOST_PUBLISHED_KEYS = 10


def published_seconds_for(jwks_max_age: int) -> int:
    """Return how long a key has to be in the JWKS before it signs: to whoever has not got it, it is unknown."""
    return jwks_max_age + _BEYOND_MAX_AGE_SECONDS


PUBLISHED_SECONDS = published_seconds_for(JWKS_MAX_AGE_SECONDS)


@dataclass(frozen=True, slots=True)
class KeySchedule:
    """How long a key signs (0 days: until somebody rotates by hand), and how long it is published before it does."""

    days: float
    published_seconds: int = PUBLISHED_SECONDS
