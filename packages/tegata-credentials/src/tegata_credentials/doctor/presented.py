"""What a token says about itself, read without believing it: the server is the one that checks.

Entra access tokens: RFC 7519 claims. RDS IAM tokens: a presigned URL without its scheme, Signature Version 4.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tegata_credentials.doctor.report import Check, failed, ok
from tegata_credentials.settings import DatabaseSettings

# "Azure OSSRDBMS Database": by address in tokens of version 1 (sovereign clouds have their own), by id in version 2.
_AUDIENCE = re.compile(
    r"https://ossrdbms-aad\.database\.(windows\.net|usgovcloudapi\.net|chinacloudapi\.cn)/?"
    r"|123cd850-d9df-40bd-94d5-c9f07b7fa203"
)
_SHOWN = ("aud", "exp", "oid", "tid", "appid", "azp")
# In China the region stands behind `rds`.
_RDS_HOST = re.compile(
    r"\.(?:(?P<before>[a-z]{2}(?:-[a-z]+)+-\d)\.rds|rds\.(?P<behind>[a-z]{2}(?:-[a-z]+)+-\d))\.amazonaws\.com"
)
_LEEWAY_SECONDS = 5.0
_LONGEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class RdsToken:
    """The parts of an RDS token that are no secret."""

    host: str
    port: int
    user: str
    region: str
    begins_at: float
    ends_at: float


def read_claims(token: str) -> Mapping[str, Any] | None:
    """Return the claims of a JWT; None if it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


def show_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return what may be shown: whom the token is for and how long, nothing that could be used as a token."""
    shown: dict[str, Any] = {}
    for name in _SHOWN:
        value = claims.get(name)
        if (isinstance(value, str) and len(value) <= _LONGEST_SHOWN) or _is_number(value):
            shown[name] = value
    return shown


def judge_claims(claims: Mapping[str, Any], *, now: float) -> list[Check]:
    """Judge audience and time of an Entra token."""
    checks = []
    audience = claims.get("aud")
    if isinstance(audience, str) and _AUDIENCE.fullmatch(audience):
        checks.append(ok("audience", "the token is for PostgreSQL"))
    else:
        checks.append(failed("audience", "token_wrong_audience", audience=str(audience)[:_LONGEST_SHOWN]))
    begins, ends = (claims.get(name) for name in ("nbf", "exp"))
    checks.append(_judge_time(begins if _is_number(begins) else None, ends if _is_number(ends) else None, now))
    return checks


def read_rds_token(token: str) -> RdsToken | None:
    """Return what an RDS token was signed for; None if it is no such token."""
    try:
        parts = urlsplit(f"//{token}")
        values = dict(parse_qsl(parts.query, strict_parsing=True))
        scope = values["X-Amz-Credential"].split("/")
        begins = datetime.strptime(values["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return RdsToken(
            host=parts.hostname or "",
            port=parts.port or 0,
            user=values["DBUser"],
            region=scope[2],
            begins_at=begins,
            ends_at=begins + int(values["X-Amz-Expires"]),
        )
    except (KeyError, IndexError, ValueError):
        return None


def show_rds_token(token: RdsToken) -> dict[str, Any]:
    """Return what may be shown of it."""
    return {"aud": f"{token.host}:{token.port}", "user": token.user, "region": token.region, "exp": int(token.ends_at)}


def judge_rds_token(token: RdsToken, settings: DatabaseSettings, *, now: float) -> list[Check]:
    """Judge whether the token is for this host, port, user and region, and alive."""
    checks = []
    host = settings.rds_endpoint or settings.host
    if (token.host, token.port) != (host.lower(), settings.port):
        checks.append(failed("audience", "token_wrong_host", signed_for=f"{token.host}:{token.port}"))
    elif token.user != settings.user:
        checks.append(failed("audience", "token_wrong_user", signed_for=token.user))
    else:
        checks.append(ok("audience", "the token is for this host, port and user"))
    place = _RDS_HOST.search(host.lower())
    if place is not None:
        region = place["before"] or place["behind"]
        if region != token.region:
            checks.append(failed("region", "token_wrong_region", signed_for=token.region, region=region))
        else:
            checks.append(ok("region", f"the token is for the host's region, {token.region}"))
    return [*checks, _judge_time(token.begins_at, token.ends_at, now)]


def _judge_time(begins: float | None, ends: float | None, now: float) -> Check:
    if begins is not None and begins > now + _LEEWAY_SECONDS:
        return failed("life", "token_too_early", seconds=round(begins - now))
    if ends is not None and ends <= now:
        return failed("life", "token_expired", seconds=round(now - ends))
    if ends is None:
        return ok("life", "the token does not say when it ends")
    return ok("life", f"the token lives {round(ends - now)} s more")


def _is_number(value: object) -> bool:
    # JSON as Python reads it also knows Infinity and NaN.
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
