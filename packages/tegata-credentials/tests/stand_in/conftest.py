"""A secret and two clients: one of the stand-in, and one of moto as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config

from tegata_credentials.testing.secrets_manager import StandIn

ONE_TRY = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=60, read_timeout=60)


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[Any]:
    """A client that does not try again."""
    made = stand_in.client(config=ONE_TRY)
    yield made
    made.close()


@pytest.fixture
def moto(stand_in: StandIn) -> Iterator[Any]:
    """The same of moto alone."""
    made = stand_in.client(config=ONE_TRY, endpoint_url=stand_in.moto_url)
    yield made
    made.close()
