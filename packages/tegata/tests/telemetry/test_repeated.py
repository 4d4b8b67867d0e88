"""Events that anybody can cause: few rows, little memory."""

from __future__ import annotations

from uuid import UUID

from tegata.identifiers import TenantId
from tegata.storage.records import AuditEvent
from tegata.telemetry.audit import Origin, event
from tegata.telemetry.repeated import Repeated
from tegata.testing.clock import SetClock

TENANT = TenantId(UUID(int=1))


def refused(address: str = "192.0.2.1", reason: str = "client_unknown") -> AuditEvent:
    origin = Origin(address, "request")
    return event("token.refused", now=1.0, origin=origin, outcome="failure", reason=reason, client_id="web")


def test_the_first_passes_and_the_rest_of_its_minute_become_one_with_a_count() -> None:
    clock = SetClock()
    repeated = Repeated(clock)
    assert repeated.take(TENANT, refused()) is not None
    assert [repeated.take(TENANT, refused()) for _ in range(9)] == [None] * 9
    assert list(repeated.ended()) == []
    clock.advance(60)
    ((tenant_id, told),) = repeated.ended()
    assert (tenant_id, told.reason, told.address, told.details) == (
        TENANT, "client_unknown", "192.0.2.1", {"count": 9}
    )  # fmt: skip
    assert repeated.take(TENANT, refused()) is not None


def test_what_happened_once_is_not_told_twice() -> None:
    repeated = Repeated(SetClock())
    repeated.take(TENANT, refused())
    assert list(repeated.ended(every=True)) == []


def test_reasons_addresses_and_tenants_are_told_apart() -> None:
    repeated = Repeated(SetClock())
    for other in (refused(), refused(reason="secret"), refused("192.0.2.2")):
        assert repeated.take(TENANT, other) is not None
    assert repeated.take(TenantId(UUID(int=2)), refused()) is not None


def test_endless_addresses_fill_neither_memory_nor_table() -> None:
    repeated = Repeated(SetClock(), max_kinds=10)
    taken = [repeated.take(TENANT, refused(f"2001:db8::{number:x}")) for number in range(1000)]
    passed = [one for one in taken if one is not None]
    assert len(passed) == 11
    assert (passed[-1].address, passed[-1].client_id) == (None, None)
    ((_, told),) = repeated.ended(every=True)
    assert told.details == {"count": 989}
