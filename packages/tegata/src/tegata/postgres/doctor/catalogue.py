"""The written list of all checks. Objects come from the catalogue: a list kept by hand misses yesterday's table."""

from __future__ import annotations

from tegata.postgres.doctor import checks_functions, checks_grants, checks_roles, checks_tables

CHECKS = (
    *checks_roles.CHECKS,
    *checks_tables.TABLES,
    *checks_tables.KEYS,
    *checks_functions.CHECKS,
    *checks_grants.CHECKS,
)
