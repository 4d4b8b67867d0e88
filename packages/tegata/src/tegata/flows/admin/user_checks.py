"""What a User document must make sense as: claims have the types of OIDC Core §5.1."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tegata.flows.admin.documents import UserSpec
from tegata.flows.admin.problems import Path
from tegata.protocol.claims import RESERVED_CLAIMS, STANDARD_CLAIMS

Fault = tuple[Path, str]

MAX_CLAIMS_CHARACTERS = 32_768
_FLAGS = frozenset({"email_verified", "phone_number_verified"})
_ADDRESS_MEMBERS = frozenset({"formatted", "street_address", "locality", "region", "postal_code", "country"})
# Set by the server: what the account itself says would be overwritten or, worse, believed.
_SET_ELSEWHERE = {"roles": "spec.roles", "username": "metadata.name", "updated_at": "the server, at each change"}
_BIRTHDATE = re.compile(r"(\d{4}|0000)(-\d\d-\d\d)?", re.ASCII)
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}")


def faults(spec: UserSpec) -> Iterator[Fault]:
    """Yield what is wrong with a user, claim by claim."""
    for claim, value in spec.claims.items():
        if message := _problem(claim, value):
            yield ("spec", "claims", claim), message
    if len(json.dumps(dict(spec.claims))) > MAX_CLAIMS_CHARACTERS:
        yield ("spec", "claims"), f"is larger than {MAX_CLAIMS_CHARACTERS} characters"
    for index, role in enumerate(spec.roles):
        if role in spec.roles[:index]:
            yield ("spec", "roles", index), "stands twice"


def _problem(claim: str, value: Any) -> str | None:
    if claim in RESERVED_CLAIMS:
        return "is set by the protocol; a user cannot have it"
    if claim in _SET_ELSEWHERE:
        return f"is set by {_SET_ELSEWHERE[claim]}, not as a claim"
    if claim in _FLAGS:
        return None if isinstance(value, bool) else "must be true or false"
    if claim == "address":
        return _problem_with_address(value)
    if claim in STANDARD_CLAIMS and not isinstance(value, str):
        return "must be text; put it in quotes"
    if claim == "email" and not _EMAIL.fullmatch(value):
        return "is not an e-mail address"
    if claim == "birthdate" and not _BIRTHDATE.fullmatch(value):
        return "must be YYYY-MM-DD or YYYY"
    if claim in {"profile", "picture", "website"} and not value.startswith(("https://", "http://")):
        return "must be a web address"
    return None


def _problem_with_address(value: Any) -> str | None:
    """OIDC Core §5.1.1."""
    if not isinstance(value, Mapping) or not value:
        return f"must be a mapping with some of {', '.join(sorted(_ADDRESS_MEMBERS))}"
    for member, text in value.items():
        if member not in _ADDRESS_MEMBERS:
            return f"has no member {member[:40]}"
        if not isinstance(text, str):
            return f"must have text as {member}; put it in quotes"
    return None
