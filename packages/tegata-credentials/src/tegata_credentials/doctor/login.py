"""Logs in once with the password or token in hand, and says what became of it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tegata_credentials.doctor.report import Check, failed, ok, skipped
from tegata_credentials.grants import GrantsError, build_mapping
from tegata_credentials.settings import DatabaseSettings

TIMEOUT_SECONDS = 15.0
MOST_SKEW_SECONDS = 30.0

# One round trip: who we are, whether anybody can read along, and what the server's clock says.
_ASK = """
select current_user::text as role, r.rolsuper, r.rolbypassrls,
       extract(epoch from clock_timestamp())::float8 as now,
       coalesce((select s.ssl from pg_catalog.pg_stat_ssl s where s.pid = pg_catalog.pg_backend_pid()), false) as tls
  from pg_catalog.pg_roles r where r.rolname = current_user
"""


@dataclass(frozen=True, slots=True)
class Inside:
    """What the server said to somebody who got in."""

    role: str
    is_superuser: bool
    bypasses_policies: bool
    is_encrypted: bool
    clock_ahead_seconds: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nobody got in: a SQLSTATE, or a word of ours, and what the server's text told beyond it."""

    sqlstate: str
    hint: Literal["pam", "no rule", "no login", "none"] = "none"


async def log_in(
    settings: DatabaseSettings, secret: str, tls: ssl.SSLContext | str, *, clock: Callable[[], float] = time.time
) -> Inside | Refusal:
    """Connect with asyncpg, ask, and leave. The server's texts are looked at and not kept: they quote what was sent.

    `tls` is what the certificate is checked with, or `require` or `disable`. Never `prefer`: it tries twice, and only
    the second refusal would be seen.
    """
    import asyncpg

    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            connection = await asyncpg.connect(
                host=settings.host,
                port=settings.port,
                user=settings.user,
                database=settings.database,
                password=str(secret),  # the driver takes no subclass of str
                ssl=tls,
                timeout=TIMEOUT_SECONDS,
            )
            try:
                before = clock()
                row = await connection.fetchrow(_ASK)
                middle = (before + clock()) / 2
            finally:
                connection.terminate()
    except asyncpg.PostgresError as error:
        return Refusal(error.sqlstate or "unknown", _read_hint(str(error)))
    except (TimeoutError, OSError, asyncpg.InterfaceError) as error:
        return Refusal("timeout" if isinstance(error, TimeoutError) else type(error).__name__)
    return Inside(row["role"], row["rolsuper"], row["rolbypassrls"], row["tls"], row["now"] - middle)


def judge_inside(inside: Inside, *, must_be_encrypted: bool, is_local_password: bool = False) -> list[Check]:
    """Judge a login that worked. With a password and no network a powerful role is worth a note only."""
    checks = [ok("login", f"logged in as {inside.role}"), judge_clock(inside.clock_ahead_seconds, "the server's")]
    if inside.is_encrypted:
        checks.append(ok("encryption", "the connection is encrypted"))
    elif must_be_encrypted:
        checks.append(failed("encryption", "connection_readable"))
    else:
        checks.append(skipped("encryption", "the connection stays within this machine"))
    if inside.is_superuser or inside.bypasses_policies:
        attribute = "superuser" if inside.is_superuser else "BYPASSRLS"
        found = failed("role", "role_too_powerful", role=inside.role, attribute=attribute)
        checks.append(skipped("role", found.says) if is_local_password else found)
    else:
        checks.append(ok("role", "row-level security binds the role"))
    return checks


def judge_clock(ahead_seconds: float, whose: str) -> Check:
    """Judge by how much another clock is ahead of ours."""
    seconds = abs(round(ahead_seconds))
    if seconds <= MOST_SKEW_SECONDS:
        return ok("clock", f"agrees with {whose} within {seconds + 1} s")
    return failed("clock", "clock_skewed", seconds=seconds, direction="slow" if ahead_seconds > 0 else "fast")


def judge_refusal(refusal: Refusal, settings: DatabaseSettings, *, object_id: str | None) -> Check:
    """Say what a refused login means for this method, with the SQL that mends it where there is one."""
    case: dict[str, Any] = {"sqlstate": refusal.sqlstate, "role": settings.user, "database": settings.database}
    if refusal.sqlstate == "timeout":
        return failed("login", "login_silent", seconds=TIMEOUT_SECONDS)
    known = {
        "3D000": "database_missing",
        "42501": "database_forbidden",
        "53300": "connections_exhausted",
        "57P03": "server_not_ready",
    }.get(refusal.sqlstate)
    if known is None and refusal.sqlstate in ("28P01", "28000"):
        if refusal.hint == "no rule":
            return failed("login", "no_login_rule", **case)
        if refusal.hint == "no login":
            return failed("login", "role_cannot_log_in", **case)
        return _judge_credential(refusal, settings, case, object_id)
    return failed("login", known or "login_failed", **case)


def _read_hint(text: str) -> Literal["pam", "no rule", "no login", "none"]:
    """Tell apart what one SQLSTATE covers. A server with other than English messages tells nothing here."""
    if text.startswith("PAM authentication failed"):
        return "pam"
    if text.startswith(("no pg_hba.conf entry", "pg_hba.conf rejects")):
        return "no rule"
    return "no login" if text.endswith("is not permitted to log in") else "none"


def _judge_credential(
    refusal: Refusal, settings: DatabaseSettings, case: dict[str, Any], object_id: str | None
) -> Check:
    if settings.auth == "managed_identity":
        sql = _mapping_sql(settings, object_id)
        return failed("login", "role_not_mapped", sql=sql, oid=object_id or "not in the token", **case)
    if settings.auth == "aws_iam":
        if refusal.hint == "pam":
            return failed("login", "iam_refused", **case)
        return failed("login", "role_lacks_rds_iam", sql=_grant_sql(settings), **case)
    return failed("login", "password_refused", **case)


def _grant_sql(settings: DatabaseSettings) -> str | None:
    try:
        return build_mapping("aws", settings.user).sql
    except GrantsError:
        return None


def _mapping_sql(settings: DatabaseSettings, object_id: str | None) -> str | None:
    """Both ways to map: a role that does not exist yet, and one that does."""
    try:
        new = build_mapping("azure", settings.user, object_id=object_id)
        old = build_mapping("azure", settings.user, object_id=object_id, is_existing=True)
    except GrantsError:
        return None
    return (
        f"-- {new.title}, in the database {new.database}. If the role does not exist yet:\n{new.sql}\n"
        f"-- If it does:\n{old.sql}"
    )
