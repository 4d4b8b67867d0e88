"""To what a token is bound, so that it serves only together with it (RFC 7800 §3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tegata_verify.errors import Reason, TokenError


@dataclass(frozen=True, slots=True)
class Binding:
    """A DPoP key (RFC 9449 §6.1), a client certificate (RFC 8705 §3.1), both or nothing."""

    key: str | None = None
    certificate: str | None = None


def find_binding(claims: Mapping[str, Any]) -> Binding:
    """Return what `cnf` binds a token to. RFC 7800 §3.1. Raises `TokenError`.

    A binding of which we know no part is refused: to take the token would be to take it as a bearer token.
    """
    confirmation = claims.get("cnf")
    if confirmation is None:
        return Binding()
    if not isinstance(confirmation, Mapping):
        raise TokenError(Reason.MALFORMED_CLAIM, "cnf")
    found = {name: confirmation[name] for name in ("jkt", "x5t#S256") if name in confirmation}
    if not found:
        raise TokenError(Reason.UNKNOWN_BINDING)
    if not all(isinstance(value, str) and value for value in found.values()):
        raise TokenError(Reason.MALFORMED_CLAIM, "cnf")
    return Binding(found.get("jkt"), found.get("x5t#S256"))


def refuse_bound(claims: Mapping[str, Any]) -> None:
    """Refuse a token that is bound to anything, for whoever looks at tokens and not at requests.

    Raises `TokenError`. Without a look at the request it would be taken as a bearer token, also from a thief.
    """
    if claims.get("cnf") is not None:
        raise TokenError(Reason.BOUND_TOKEN, "only a request can show what it is bound to")
