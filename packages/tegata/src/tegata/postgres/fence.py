"""The fence: whether a hot standby has replayed what the writer had committed at a moment.

A position in the write-ahead log means something only within one cluster and one timeline. So a fence holds all three,
and a reader that cannot prove all three is not used (PostgreSQL documentation, "System Administration Functions" and
"Timelines").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import asyncpg

from tegata.postgres.engine import Database
from tegata.postgres.role import UNBOUND

Refusal = Literal["not_a_standby", "no_position", "another_cluster", "another_timeline", "unbound_role", "behind"]

# Headers at the beginning of a page and of a segment of the log (XLogShortPHD, XLogLongPHD).
_PAGE_HEADER, _SEGMENT_HEADER = 24, 40

# A writer that is itself in recovery has no position to write at, and no fence. The file's name begins with the
# timeline that is being written, also right after a promotion, when the control file still names the one before.
_FENCE = """
    select s.system_identifier, ('x' || left(pg_walfile_name(w.position), 8))::bit(32)::bigint as timeline,
           (w.position - '0/0'::pg_lsn)::bigint as position,
           current_setting('wal_block_size')::bigint as page,
           pg_size_bytes(current_setting('wal_segment_size')) as segment
      from pg_control_system() s,
           lateral (select case when not pg_is_in_recovery() then pg_current_wal_insert_lsn() end as position) w
     where w.position is not null
"""
# Of the two timelines in the control file the later one has been replayed. Neither is ahead of the truth; both may be
# behind it for a while after a failover, and then the writer is read.
_POSITION = f"""
    select pg_is_in_recovery() as in_recovery, (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint as replayed,
           s.system_identifier, greatest(c.timeline_id, r.min_recovery_end_timeline)::bigint as timeline,
           ({UNBOUND}) as unbound
      from pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r
"""  # noqa: S608 - a constant


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader is, and what it is."""

    in_recovery: bool
    replayed: int | None
    system: int
    timeline: int
    unbound: str | None  # how its login escapes row-level security, if it does


@dataclass(frozen=True, slots=True)
class Fence:
    """A moment of the writer: everything committed before it lies before `position`."""

    system: int
    timeline: int
    position: int

    def refusal(self, reader: Position) -> Refusal | None:
        """Return why the reader may not be used; None if it has everything that the fence asks for."""
        if reader.unbound is not None:
            return "unbound_role"
        if not reader.in_recovery:
            return "not_a_standby"  # a primary: promoted, or never a replica; its log is its own
        if reader.replayed is None:
            return "no_position"  # Aurora, or nothing replayed yet
        if reader.system != self.system:
            return "another_cluster"
        if reader.timeline != self.timeline:
            return "another_timeline"
        return None if reader.replayed >= self.position else "behind"


async def take_fence(writer: Database) -> Fence | None:
    """Return a fence for this moment; None if what should be the writer is a standby."""
    row = await writer.row(_FENCE)
    if row is None:
        return None
    position = as_end(row["position"], page=row["page"], segment=row["segment"])
    return Fence(row["system_identifier"], row["timeline"], position)


async def position_of(connection: asyncpg.Connection) -> Position:
    """Return where a reader is."""
    row = await connection.fetchrow(_POSITION)
    return Position(row["in_recovery"], row["replayed"], row["system_identifier"], row["timeline"] or 0, row["unbound"])


def as_end(position: int, *, page: int, segment: int) -> int:
    """Return where the last record ends, given where the next one will begin.

    They differ at the beginning of a page: the next record begins behind the page's header, which is not written, nor
    replayed, before that record is. A quiet writer would otherwise never be caught up with.
    """
    if position % segment == _SEGMENT_HEADER:
        return position - _SEGMENT_HEADER
    if position % page == _PAGE_HEADER:
        return position - _PAGE_HEADER
    return position
