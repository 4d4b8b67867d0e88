"""Reading settings from environment variables and files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PREFIX = "TEGATA_"


class SettingsError(Exception):
    """Settings that cannot be used; each problem is one sentence that names its setting and the cure."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class SettingsUnavailable(SettingsError):
    """Settings that nothing is wrong with, as far as is known: their store does not answer."""


ALIASES = {
    "database_url": "DATABASE_URL",
    "database_auth": "DATABASE_AUTH",
    "database_azure_client_id": "AZURE_CLIENT_ID",
    "database_pool_size": "DB_POOL_SIZE",
    "database_pool_overflow": "DB_MAX_OVERFLOW",
    "database_pool_recycle_seconds": "DB_POOL_RECYCLE",
    "database_pool_pre_ping": "DB_POOL_PRE_PING",
}
_YES, _NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def add_managed_identity(environ: Mapping[str, str], values: dict[str, Any], problems: list[str]) -> None:
    """USE_MANAGED_IDENTITY=true is another word for managed_identity; the SDK's own variable chooses below it."""
    if environ.get("AZURE_TOKEN_CREDENTIALS", "").strip():
        values.setdefault("database_azure_default_credential", True)
    word = environ.get("USE_MANAGED_IDENTITY", "").strip().lower()
    if not word:
        return
    if word not in _YES + _NO:
        problems.append("USE_MANAGED_IDENTITY is neither true nor false")
        return
    method = values.get("database_auth")
    if method is not None and (method == "managed_identity") != (word in _YES):
        name = given_as(environ, "database_auth")
        problems.append(f"USE_MANAGED_IDENTITY and {name} contradict each other; keep one of them")
    elif word in _YES:
        values["database_auth"] = "managed_identity"


def given_as(environ: Mapping[str, str], name: str) -> str:
    """Return the variable that a value came from, which is the one to correct."""
    own, other = PREFIX + name.upper(), ALIASES.get(name, "")
    return other if not environ.get(own) and environ.get(other) else own


def read_text(environ: Mapping[str, str], name: str, *, secret: bool, problems: list[str]) -> str | None:
    """Return what the environment says of the field `name`, or None; what is wrong with it joins `problems`."""
    variable = PREFIX + name.upper()
    if secret:
        path = environ.get(f"{variable}_FILE")
        if path is not None and variable in environ:
            problems.append(f"{variable} and {variable}_FILE are both set; keep one of them")
        elif path is not None:
            return _read_file(f"{variable}_FILE", path, problems)
    found = environ.get(variable) or environ.get(ALIASES.get(name, ""), None)
    return found or None


def _read_file(variable: str, path: str, problems: list[str]) -> str | None:
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        problems.append(f"{variable} cannot be read: {error.strerror}")
    except ValueError:  # not UTF-8, or no path at all; what was read may be a secret
        problems.append(f"{variable} does not name a file of text")
    else:
        if text:
            return text
        problems.append(f"{variable} names an empty file")
    return None
