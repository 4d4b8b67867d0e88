"""The example application with a test issuer in place of a server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tegata_verify.testing import TestIssuer

sys.path.insert(0, str(Path(__file__).parents[1]))

Headers = Callable[..., dict[str, str]]


@pytest.fixture(scope="session")
def issuer() -> TestIssuer:
    return TestIssuer("https://id.example/demo", audience="beer-development-service")


@pytest.fixture
def app(issuer: TestIssuer) -> FastAPI:
    from resource_server import create_app

    return create_app(issuer.issuer, [issuer.audience], verifier=issuer.verifier())


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=True)


@pytest.fixture(scope="session")
def bearer(issuer: TestIssuer) -> Headers:
    def headers(scope: str = "", *roles: str, audience: str | list[str] | None = None) -> dict[str, str]:
        token = issuer.mint(scope=scope, roles=roles, audience=audience)
        return {"Authorization": f"Bearer {token}"}

    return headers
