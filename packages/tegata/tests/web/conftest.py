"""Makes the shared fixtures known to this folder."""

from __future__ import annotations

from .sites import chromium, client, elsewhere, site

__all__ = ["chromium", "client", "elsewhere", "site"]
