"""`tegata audit`: a tenant's audit events as text, JSON lines or CSV.

What events hold was partly written by whoever was refused: client ids, user agents' addresses, reasons. So text and
JSON show no control character to the terminal, and a cell of CSV is never a formula (OWASP, "CSV Injection") and holds
none but line breaks and tabs.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Literal, TextIO

from tegata.cli.failures import OK, USAGE, CommandFailure
from tegata.cli.surroundings import Surroundings
from tegata.flows.admin.keys import NoSuchTenant
from tegata.flows.audit_search import found_events
from tegata.storage.marked_reads import EventSearch
from tegata.storage.records import AuditEvent

Form = Literal["text", "json", "csv"]
_Write = Callable[[AuditEvent], None]

_COLUMNS = ("at", "type", "outcome", "actor", "client_id", "reason", "address", "details", "event_id")
# What spreadsheets take for the beginning of a formula, in full width too; and what they skip before one.
_FORMULA = re.compile(r"[=+\-@＝＋－＠\t\r\n]")
# What would end a value in a line of text.
_SEVERAL = re.compile(r'[\s"=]')
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def run(tenant: str, *, type_prefix: str, since: str | None, until: str | None, limit: int, form: Form) -> int:
    """Print the newest events that match."""
    now = time.time()
    whole = EventSearch()
    search = EventSearch(
        whole.since if since is None else moment("--since", since, now=now),
        whole.until if until is None else moment("--until", until, now=now),
        type_prefix,
    )
    try:
        asyncio.run(_print(Surroundings.read(), tenant, search, limit, writer_of(form, sys.stdout)))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough (`| head`); nothing is left to be flushed at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def moment(option: str, text: str, *, now: float) -> float:
    """Read a date or time of ISO 8601, UTC where it names no zone, or how long ago: 90s, 15m, 24h, 7d, 4w.

    Raises `CommandFailure`.
    """
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])}).total_seconds()
        read = datetime.fromisoformat(text)
        return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise CommandFailure(
            f"{option} is a time such as 2026-11-21, 2026-11-21T06:30:00Z or 24h (ago), not {printable(text)}", USAGE
        ) from None


def writer_of(form: Form, out: TextIO) -> _Write:
    """Return what writes one event after the other."""
    if form == "json":
        return lambda event: print(json.dumps(as_members(event)), file=out)
    if form == "text":
        return lambda event: print(as_text(event), file=out)
    rows = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")  # RFC 4180 §2
    rows.writerow(_COLUMNS)
    return lambda event: rows.writerow([cell(value) for value in as_members(event).values()])


def as_members(event: AuditEvent) -> dict[str, object]:
    """Return an event as the members of a JSON object, in the order of the columns."""
    members = {"at": _when(event.at), **{name: getattr(event, name) for name in _COLUMNS[1:]}}
    return {**members, "details": dict(event.details)}


def _when(at: float) -> str:
    """Return a time; one that no calendar of ours has, as seconds: PostgreSQL has more years, and infinity."""
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError, OSError):
        return str(at)


def as_text(event: AuditEvent) -> str:
    """Return an event as a line."""
    members = as_members(event)
    named = {name: members[name] for name in ("actor", "client_id", "reason", "address")}
    details = {f"details.{name}" if name in named else name: value for name, value in event.details.items()}
    rest = " ".join(f"{name}={_shown(value)}" for name, value in {**named, **details}.items() if value is not None)
    return printable(f"{members['at']}  {event.outcome}  {event.type}  {rest}".rstrip())


def _shown(value: object) -> str:
    """Return a value, in quotes if it could be taken for several fields."""
    text = str(value)
    return text if text and not _SEVERAL.search(text) else json.dumps(text, ensure_ascii=False)


def cell(value: object) -> str:
    """Return a value as a cell that no spreadsheet calculates and no terminal obeys."""
    if value is None:
        return ""
    text = printable(value, but="\t\r\n") if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if _FORMULA.match(text) else text


def printable(text: str, *, but: str = "") -> str:
    """Return the text with control characters written out, `but` these."""
    return "".join(c if c.isprintable() or c in but else c.encode("unicode_escape").decode() for c in text)


async def _print(surroundings: Surroundings, tenant: str, search: EventSearch, limit: int, write: _Write) -> None:
    async with surroundings.reading() as storage:
        record = await storage.find_tenant(tenant)
        if record is None:
            raise NoSuchTenant(f"there is no tenant {tenant}")
        reads = await storage.tenant_readonly(record.tenant_id)
        async for event in found_events(reads, search, limit=limit):
            write(event)
