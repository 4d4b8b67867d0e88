"""Every setting: default, environment name, documentation. One frozen model, read once from an environment given to it.

`TEGATA_NAME`; secrets also as `TEGATA_NAME_FILE`, or as a reference (`awssm:NAME#KEY`, `file:/path`, `env:NAME`); the
names that older set-ups use (`DATABASE_URL`, `DB_POOL_SIZE`) are accepted where noted. A secret has no default.
"""

from __future__ import annotations

from tegata.settings.environment import ALIASES, PREFIX, SettingsError, SettingsUnavailable
from tegata.settings.model import Settings, is_secret, unknown_names
from tegata.settings.production import check_for_production, published_problem, secret_error, secret_of, way_problem

__all__ = [
    "ALIASES",
    "PREFIX",
    "Settings",
    "SettingsError",
    "SettingsUnavailable",
    "check_for_production",
    "is_secret",
    "published_problem",
    "secret_error",
    "secret_of",
    "unknown_names",
    "way_problem",
]
