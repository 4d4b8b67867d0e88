"""Whether an RDS IAM token opens this database: Signature Version 4 worked out again from its description.

Nothing of botocore is used: a fault in the signer must not be repeated by the judge. The token is a presigned URL
without its scheme. AWS Documentation, "IAM database authentication" and "Create a signed AWS API request".
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, unquote_to_bytes

LONGEST_LIFETIME_SECONDS = 900
_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "rds-db"
_TOKEN = re.compile(r"(?P<host>[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})(?P<path>/?)\?(?P<query>[^#\s]+)")
# How far ahead of ours the clock of a signer may be.
_AHEAD_SECONDS = 300


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One key of an AWS account; one with a session token is temporary, as those of roles are."""

    key_id: str
    secret: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address that a token for a database server must be signed for."""

    host: str
    port: int
    region: str


class RdsVerifier:
    """Judges presented tokens. `lifetime_seconds` below 900 lets them end sooner than they say, `end_all()` at once."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._keys: dict[str, AccessKey] = {}
        self.lifetime_seconds: float = LONGEST_LIFETIME_SECONDS
        self._ended: float = 0.0

    def end_all(self) -> None:
        """Let what was signed up to this second end early. Times are whole seconds: sign the next one later."""
        self._ended = self._clock()

    def trust(self, key: AccessKey) -> None:
        """Accept what this key signs."""
        self._keys[key.key_id] = key

    def distrust(self, key: AccessKey) -> None:
        """Accept nothing more of this key."""
        self._keys.pop(key.key_id, None)

    def refusal(self, token: str, *, role: str, endpoint: Endpoint) -> str | None:
        """Return why this token does not open `endpoint` for `role`; None if it does."""
        found = _TOKEN.fullmatch(token)
        values = _read_query(found["query"]) if found else None
        if found is None or values is None:
            return "malformed"
        scope = values.get("X-Amz-Credential", "").split("/")
        if len(scope) != 5 or values.get("X-Amz-Algorithm") != _ALGORITHM:
            return "malformed"
        key = self._keys.get(scope[0])
        if key is None:
            return "unknown_key"
        signature = values.pop("X-Amz-Signature", "")
        authority = f"{found['host']}:{found['port']}"
        if not hmac.compare_digest(_sign(key, scope[1:], values, authority), signature):
            return "bad_signature"
        if values.get("X-Amz-Security-Token") != key.session_token:
            return "wrong_session"
        if (values.get("Action"), values.get("X-Amz-SignedHeaders"), scope[3]) != ("connect", "host", _SERVICE):
            return "wrong_purpose"
        if misfit := _misfit(Endpoint(found["host"], int(found["port"]), scope[2]), endpoint):
            return misfit
        return "wrong_user" if values.get("DBUser") != role else self._untimely(values, scope[1])

    def _untimely(self, values: dict[str, str], day: str) -> str | None:
        announced = values.get("X-Amz-Expires", "")
        signed_at = _read_time(values.get("X-Amz-Date", ""))
        if signed_at is None or not values["X-Amz-Date"].startswith(day) or not re.fullmatch("[0-9]{1,4}", announced):
            return "malformed"
        if int(announced) > LONGEST_LIFETIME_SECONDS:
            return "too_long_life"
        now = self._clock()
        if signed_at > now + _AHEAD_SECONDS:
            return "not_yet_valid"
        if signed_at <= self._ended:
            return "expired"
        return "expired" if now >= signed_at + min(int(announced), self.lifetime_seconds) else None


def _misfit(signed_for: Endpoint, endpoint: Endpoint) -> str | None:
    if signed_for.host != endpoint.host:
        return "wrong_host"
    if signed_for.port != endpoint.port:
        return "wrong_port"
    return "wrong_region" if signed_for.region != endpoint.region else None


def _read_query(query: str) -> dict[str, str] | None:
    """Return the parameters; None if one is there twice or is not UTF-8. A plus sign is a plus sign here."""
    values: dict[str, str] = {}
    for pair in query.split("&"):
        name, equals, value = pair.partition("=")
        try:
            name, value = unquote_to_bytes(name).decode(), unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            return None
        if not equals or name in values:
            return None
        values[name] = value
    return values


def _read_time(text: str) -> float | None:
    if not re.fullmatch(r"[0-9]{8}T[0-9]{6}Z", text):
        return None
    try:
        return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _sign(key: AccessKey, scope: list[str], values: dict[str, str], authority: str) -> str:
    """Work out the signature over everything but itself: canonical request, text to sign, derived key."""
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in values.items())
    query = "&".join(f"{name}={value}" for name, value in pairs)
    request = f"GET\n/\n{query}\nhost:{authority}\n\nhost\n{sha256(b'').hexdigest()}"
    text = "\n".join((_ALGORITHM, values.get("X-Amz-Date", ""), "/".join(scope), sha256(request.encode()).hexdigest()))
    derived = f"AWS4{key.secret}".encode()
    for part in (*scope, text):
        derived = hmac.digest(derived, part.encode(), "sha256")
    return derived.hex()
