"""Sets the password of one role: under a lock, after looking again, and as a verifier."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress

from tegata_credentials.rotation.errors import DatabaseConnectionError, PasswordUpdateError, RotationBusy
from tegata_credentials.rotation.postgres.pair import LoginPair, identifier
from tegata_credentials.rotation.postgres.secret import Login
from tegata_credentials.rotation.postgres.sessions import Session, StatementFailed, update_error

# PostgreSQL documentation, "pg_authid": a text of this form is kept as it is; any other would be taken for a password.
_VERIFIER = re.compile(r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+", re.ASCII)

_LOCK = "select pg_catalog.pg_try_advisory_xact_lock(%s), session_user::text"
_ROLE = "select rolcanlogin, coalesce(rolvaliduntil <= now(), false), oid from pg_catalog.pg_roles where rolname = %s"
_GROUP = (
    "select pg_catalog.pg_has_role(%s::oid, g.oid, 'member'), "
    "exists (select from pg_catalog.pg_db_role_setting s, unnest(s.setconfig) c where s.setrole = %s::oid "
    "and s.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database())) "
    "and c in ('role=' || %s, 'role=' || quote_ident(%s))) "
    "from pg_catalog.pg_roles g where g.rolname = %s"
)
# Whoever may make a schema could have put a function of this name there before the set-up did, to be called by an
# administrator. So its owner has to be one who can set passwords anyway; an administrator trusts itself and superusers.
_SETTER = (
    "select has_function_privilege(p.oid, 'execute') and has_schema_privilege(n.oid, 'usage') "
    "from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace "
    "join pg_catalog.pg_roles me on me.rolname = current_user "
    "where n.nspname = %s and p.proname = 'set_verifier' and p.prosecdef "
    "and pg_catalog.pg_get_function_identity_arguments(p.oid) = 'login name, verifier text' "
    "and not exists (select from pg_catalog.pg_roles o where o.oid in (p.proowner, n.nspowner) and o.oid <> me.oid "
    "and not o.rolsuper and (not o.rolcreaterole or me.rolsuper or me.rolcreaterole))"
)


def lock_key(secret: str) -> int:
    """Return the key of the advisory lock of a secret: 64 bits, signed, of its ARN's digest."""
    return int.from_bytes(hashlib.sha256(b"tegata-rotation\0" + secret.encode()).digest()[:8], "big", signed=True)


def change_password(
    session: Session, secret: str, login: Login, recheck: Callable[[], None], pair: LoginPair | None = None
) -> None:
    """Set the password in one transaction under the secret's lock, and commit.

    `recheck` is called under the lock, before the commit, and raises if this is not to be done any more. Raises
    `RotationBusy`, `PasswordUpdateError` or `DatabaseConnectionError`; in each case the password is what it was, unless
    the connection broke at the commit: then a repetition finds out.
    """
    try:
        _change(session, secret, login, recheck, pair)
    except Exception:
        # A server that is busy notices late that a session has ended: a repetition at once would find the lock taken.
        with suppress(DatabaseConnectionError, StatementFailed):
            session.execute("rollback")
        raise


def _change(session: Session, secret: str, login: Login, recheck: Callable[[], None], pair: LoginPair | None) -> None:
    rotator = None
    try:
        # A login of the pair becomes the group by itself, and an administrator may too: nobody's rights but its own.
        session.execute("set role none")
        # The owner of the database decides what is found first, and an administrator would run what it finds.
        session.execute("set search_path = pg_catalog, pg_temp")
        ((is_free, rotator),) = session.execute(_LOCK, lock_key(secret))
        if not is_free:
            raise RotationBusy("another invocation is setting the password of this secret")
        _check_role(session, login.username, pair, rotator)
        session.execute(*_statement(session, login, pair))
        recheck()  # as late as can be: who moves a label by hand takes no lock
        session.commit()
    except StatementFailed as failed:
        failure = update_error(failed, None if pair is None else _set_up(pair, rotator))
    else:
        return
    raise failure


def _check_role(session: Session, username: str, pair: LoginPair | None, rotator: str) -> None:
    found, role = session.execute(_ROLE, username), identifier(username)
    if not found:
        cure = f"create role {role} login" if pair is None else _set_up(pair, rotator)
        raise PasswordUpdateError(f"there is no role {username}: {cure}")
    can_login, has_ended, oid = found[0]
    if not can_login:
        raise PasswordUpdateError(f"the role {username} may not log in: alter role {role} login")
    if has_ended:
        raise PasswordUpdateError(
            f"the password of {username} has an end that is past: alter role {role} valid until 'infinity'"
        )
    if pair is None:
        return
    group = session.execute(_GROUP, oid, oid, pair.group, pair.group, pair.group)
    if not group:
        raise PasswordUpdateError(f"there is no role {pair.group}: {_set_up(pair, rotator)}")
    is_member, becomes = group[0]
    if not is_member:
        raise PasswordUpdateError(f"{username} is no member of {pair.group}: grant {identifier(pair.group)} to {role}")
    if not becomes:
        raise PasswordUpdateError(
            f"{username} does not become {pair.group} at login: alter role {role} set role = {identifier(pair.group)}"
        )


def _set_up(pair: LoginPair, rotator: str | None) -> str:
    """Say what to paste. An administrator who needs no set-up is named as the rotator too, which does no harm."""
    return f"an administrator runs the set-up, which `{pair.set_up(rotator)}` prints (in Tegata `tegata secrets setup`)"


def _statement(session: Session, login: Login, pair: LoginPair | None) -> tuple[str, *tuple[object, ...]]:
    verifier = session.verifier(login)
    if _VERIFIER.fullmatch(verifier) is None:
        raise PasswordUpdateError("the driver has made no SCRAM verifier, and a clear password is not sent")
    if pair is not None:
        allowed = session.execute(_SETTER, pair.setter_schema)
        if allowed and allowed[0][0]:
            setter = f"{identifier(pair.setter_schema)}.set_verifier".replace("%", "%%")
            return f"select {setter}(%s::name, %s::text)", login.username, str(verifier)
    return (f"alter role {identifier(login.username)} password '{verifier}'",)
