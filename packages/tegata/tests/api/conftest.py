"""Fewer examples for the property tests of this folder: the rules are many, and each runs at every push."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import settings

settings.register_profile("rules", max_examples=100, deadline=None)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Import this folder's modules, and no others, under the profile: `given` reads it when a module is imported."""
    settings.load_profile("rules")
    try:
        return (yield)
    finally:
        settings.load_profile("default")
