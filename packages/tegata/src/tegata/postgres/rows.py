"""From rows to records and back: the column names here are those that the SQL functions return."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tegata.identifiers import GrantId, SessionId, UserId
from tegata.identity.account import User
from tegata.postgres.engine import Row
from tegata.storage.records import AuditEvent, GrantRecord


def is_storable(text: str) -> bool:
    """Whether PostgreSQL can hold the text at all: a look-up for anything else finds nothing."""
    if "\0" in text:
        return False
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def to_json(value: Mapping[str, Any]) -> str:
    """Encode a mapping for a jsonb argument."""
    return json.dumps(value if isinstance(value, dict) else dict(value))


def from_json(text: str) -> dict[str, Any]:
    """Decode a jsonb column; asyncpg gives its text."""
    if text == "{}":
        return {}
    decoded: dict[str, Any] = json.loads(text)
    return decoded


def events_json(events: Sequence[AuditEvent]) -> str | None:
    """Encode events for `append_events`; None if there are none."""
    return json.dumps([event_fields(event) for event in events]) if events else None


def event_fields(event: AuditEvent) -> dict[str, object]:
    """The columns of an event, as JSON values."""
    return {
        "event_id": event.event_id,
        "at": event.at,
        "type": event.type,
        "outcome": event.outcome,
        "actor": event.actor,
        "client_id": event.client_id,
        "reason": event.reason,
        "address": event.address,
        "details": dict(event.details),
    }


def user_from(row: Row) -> User:
    """Read the columns user_* beside user_id."""
    return User(
        UserId(row["user_id"]),
        row["user_username"],
        from_json(row["user_claims"]),
        tuple(row["user_roles"]),
        row["user_disabled"],
        row["user_updated_at"],
    )


def grant_from(row: Row) -> GrantRecord:
    """Read the columns of a grant."""
    session_id = row["session_id"]
    return GrantRecord(
        GrantId(row["grant_id"]),
        row["client_id"],
        UserId(row["user_id"]),
        SessionId(session_id) if session_id is not None else None,
        tuple(row["scopes"]),
        tuple(row["resources"]),
        from_json(row["claims"]),
        row["auth_time"],
        tuple(row["amr"]),
        row["acr"],
        row["nonce"],
        row["offline"],
        row["created_at"],
    )
