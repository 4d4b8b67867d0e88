"""Makes the shared fixtures known to this folder."""

from __future__ import annotations

from .chromium import chromium, new_visitor
from .fixtures import (
    browser,
    demo,
    dev,
    extra,
    home,
    http,
    new_browser,
    other,
    other_user,
    party,
    pytest_collection_finish,
    pytest_sessionfinish,
    user,
    web,
)

__all__ = [
    "browser",
    "chromium",
    "demo",
    "dev",
    "extra",
    "home",
    "http",
    "new_browser",
    "new_visitor",
    "other",
    "other_user",
    "party",
    "pytest_collection_finish",
    "pytest_sessionfinish",
    "user",
    "web",
]
