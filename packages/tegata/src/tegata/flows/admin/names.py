"""Names that documents may use: tenants (the first segment of every path), clients, roles and users."""

from __future__ import annotations

import re

from tegata.identity.account import normalize_username

TENANT_PATTERN = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
CLIENT_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}"
ROLE_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}"
MAX_USERNAME_CHARACTERS = 254

# First segments of paths that belong to the server itself, now or by plan; a tenant of that name would hide them.
RESERVED_TENANT_NAMES = frozenset(
    {
        ".well-known",
        "account",
        "actuator",
        "admin",
        "api",
        "apis",
        "assets",
        "auth",
        "console",
        "docs",
        "example-api",
        "favicon.ico",
        "health",
        "healthz",
        "images",
        "internal",
        "livez",
        "login",
        "metrics",
        "openapi",
        "openapi.json",
        "playground",
        "readyz",
        "robots.txt",
        "scim",
        "status",
        "static",
        "tegata",
        "well-known",
    }
)


def problem_with_tenant_name(name: str) -> str | None:
    """Return what is wrong with a tenant's name, or None. It must fit one label of a host name as well (RFC 1035)."""
    if name in RESERVED_TENANT_NAMES:
        return f"is reserved: the server itself answers below /{name}"
    if not re.fullmatch(TENANT_PATTERN, name, re.ASCII):
        return "must be 1 to 63 of a-z, 0-9 and -, and neither begin nor end with -"
    return None


def problem_with_client_id(name: str) -> str | None:
    """Return what is wrong with a client identifier, or None. Narrower than RFC 6749 appendix A.1."""
    if not re.fullmatch(CLIENT_PATTERN, name, re.ASCII):
        return "must be 1 to 128 of letters, digits and . _ ~ -, and begin with a letter or digit"
    return None


def problem_with_role_name(name: str) -> str | None:
    """Return what is wrong with a role's name, or None."""
    if not re.fullmatch(ROLE_PATTERN, name, re.ASCII):
        return "must be 1 to 128 of letters, digits and . _ : / -, and begin with a letter or digit"
    return None


def problem_with_username(name: str) -> str | None:
    """Return what is wrong with a username, or None."""
    if not normalize_username(name):
        return "must not be empty"
    if name != name.strip() or not name.isprintable():
        return "must not begin or end with white space or hold control characters"
    if len(name) > MAX_USERNAME_CHARACTERS or len(normalize_username(name)) > MAX_USERNAME_CHARACTERS:
        return f"must not be longer than {MAX_USERNAME_CHARACTERS} characters"
    return None
