"""Makes the shared fixtures known to this folder."""

from __future__ import annotations

from packages.tegata.tests.acceptance.fixtures import (
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

from .conformance import op

__all__ = [
    "browser",
    "demo",
    "dev",
    "extra",
    "home",
    "http",
    "new_browser",
    "op",
    "other",
    "other_user",
    "party",
    "pytest_collection_finish",
    "pytest_sessionfinish",
    "user",
    "web",
]
