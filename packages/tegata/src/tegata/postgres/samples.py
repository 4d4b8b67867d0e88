"""What metrics say of the database: its pools, its errors, and what became of reads that a replica may answer."""

from __future__ import annotations

from collections.abc import Iterator

from tegata.postgres.engine import Pool
from tegata.postgres.storage import PostgresStorage
from tegata.telemetry import metrics
from tegata.telemetry.metrics import Sample


def samples_of(storage: PostgresStorage) -> Iterator[Sample]:
    """Yield the samples of this moment."""
    yield from _of_pool("writer", storage.database.pool)
    reader = storage.reader
    if reader is not None:
        yield from _of_pool("reader", reader.pool)
        use = reader.use
        yield metrics.READER_READS.sample(use.reads)
        for reason, count in use.fallbacks.items():
            yield metrics.READER_FALLBACKS.sample(count, reason)


def _of_pool(name: str, pool: Pool) -> Iterator[Sample]:
    yield metrics.POOL_SIZE.sample(pool.size, name)
    yield metrics.POOL_OPEN.sample(pool.open_connections, name)
    yield metrics.POOL_BUSY.sample(pool.busy_connections, name)
    yield metrics.POOL_WAITING.sample(pool.waiting, name)
    yield metrics.POOL_REFUSED.sample(pool.tally.refused, name)
    for kind, count in pool.tally.errors.items():
        yield metrics.DATABASE_ERRORS.sample(count, name, kind)
