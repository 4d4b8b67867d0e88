"""Distinct types for identifiers whose mix-up would be a vulnerability."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", UUID)
UserId = NewType("UserId", UUID)
GrantId = NewType("GrantId", UUID)
SessionId = NewType("SessionId", UUID)

# SHA-256 of a random machine secret: the only form in which codes, tokens and client secrets are kept.
Digest = NewType("Digest", bytes)
