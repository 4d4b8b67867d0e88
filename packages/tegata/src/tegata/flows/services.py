"""What the flows are given: one frozen record, made in `app.py`."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.flows.client_keys import ClientKeys
from tegata.flows.directory import Clock, Directory
from tegata.flows.own_tokens import OwnTokens
from tegata.flows.passwords import PasswordPool
from tegata.identity.throttle import ThrottleLimits
from tegata.storage.ports import Storage
from tegata.telemetry.audit import AuditQueue


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of one running server."""

    storage: Storage
    directory: Directory
    own_tokens: OwnTokens
    client_keys: ClientKeys
    passwords: PasswordPool
    audit: AuditQueue
    clock: Clock
    throttle: ThrottleLimits
    allow_loopback_http: bool
