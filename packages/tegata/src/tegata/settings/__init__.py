"""Every setting: default, environment name, documentation. One frozen model, read once from an environment given to it.

`TEGATA_NAME`; secrets also as `TEGATA_NAME_FILE`; the names that older set-ups use (`DATABASE_URL`, `DB_POOL_SIZE`)
are accepted where noted. A secret has no default.
"""

from __future__ import annotations

from tegata.settings.environment import ALIASES, PREFIX, SettingsError
from tegata.settings.model import Settings, unknown_names
from tegata.settings.production import check_for_production, published_problem, way_problem

__all__ = [
    "ALIASES",
    "PREFIX",
    "Settings",
    "SettingsError",
    "check_for_production",
    "published_problem",
    "unknown_names",
    "way_problem",
]
