"""What to do about a login that does not succeed, for the person at the terminal.

PostgreSQL manual, appendix "PostgreSQL Error Codes". libpq tells no SQLSTATE of a failed login, only a text; where the
server speaks another language than English, the text is told without advice.
"""

from __future__ import annotations

_PASSWORD = "check both, and that a password is given; in a URL, signs other than letters and digits are written %XX"
_NO_PASSWORD = "give it in the URL, by …_FILE, PGPASSWORD or PGPASSFILE"
_RULE = "no rule of pg_hba.conf lets this login in from here, or the role may not log in"
_DATABASE = "check the end of the URL, or make it: `tegata db bootstrap --create-database`"
_FULL = "make the pools smaller, or raise max_connections"
_CLOSED = "check host and port, and that PostgreSQL runs and listens there"

_BY_STATE = {"28P01": _PASSWORD, "28000": _RULE, "3D000": _DATABASE, "53300": _FULL}
# Beginnings of a failed login in libpq's and the server's words; the first that fits.
_BY_TEXT = (
    ("password authentication failed", _PASSWORD),
    ("no password supplied", _NO_PASSWORD),
    ("no pg_hba.conf entry", _RULE),
    ("is not permitted to log in", _RULE),
    ("Connection refused", _CLOSED),
    ("too many clients", _FULL),
    ("remaining connection slots", _FULL),
)


def advice_on_state(state: str) -> str | None:
    """Return what helps against an SQLSTATE that a login met, if anything is known."""
    return _BY_STATE.get(state)


def advice_on_text(text: str) -> str | None:
    """The same by what psycopg says."""
    if 'database "' in text and "does not exist" in text:
        return _DATABASE
    return next((advice for words, advice in _BY_TEXT if words in text), None)


def advice_on_closed_port() -> str:
    """Return what helps where nobody listens."""
    return _CLOSED
