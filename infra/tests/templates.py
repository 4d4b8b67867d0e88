"""The templates as tests read them: see `tegata_infra.assembly`."""

from __future__ import annotations

from tegata_infra.assembly import Assembly, Resource, walk

__all__ = ["Assembly", "Resource", "walk"]
