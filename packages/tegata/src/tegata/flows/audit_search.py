"""Looking through a tenant's audit log: newest first, page by page, from a replica where there is one."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tegata.storage.marked_reads import EventSearch, TenantReads
from tegata.storage.records import AuditEvent

_PAGE = 500


async def found_events(reads: TenantReads, search: EventSearch, *, limit: int) -> AsyncIterator[AuditEvent]:
    """Yield at most `limit` events. Each page takes up behind the last event, so none comes twice or is left out."""
    last: AuditEvent | None = None
    while limit > 0:
        wanted = min(limit, _PAGE)
        page = await reads.search_events(search, limit=wanted, before=last)
        for event in page:
            yield event
        if len(page) < wanted:
            return
        last = page[-1]
        limit -= wanted
