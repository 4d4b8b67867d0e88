"""Schemathesis: the example keeps what its OpenAPI document promises."""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from resource_server import create_app
from schemathesis.specs.openapi.checks import allow_header_conformance, negative_data_rejection

from tegata_verify.testing import TestIssuer

_issuer = TestIssuer()
_app = create_app(_issuer.issuer, [_issuer.audience], verifier=_issuer.verifier())
_token = _issuer.mint(scope="read write admin", roles={"admin"}, lifetime_seconds=3600)
schema = schemathesis.openapi.from_asgi("/openapi.json", _app)


# By hand, for schemathesis gives all of them one name, and of tests with one name pytest-xdist runs the first.
OPERATIONS = {found.ok().label: found.ok() for found in schema.get_all_operations()}


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_operation_keeps_its_description(label):
    @given(case=OPERATIONS[label].as_strategy())
    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
    def keeps_it(case):
        # Left out: Starlette's 405 names the methods of the first route of a path, not of all; and an unknown query
        # parameter is ignored, as everywhere in HTTP.
        case.call_and_validate(
            headers={"Authorization": f"Bearer {_token}"},
            excluded_checks=[allow_header_conformance, negative_data_rejection],
        )

    keeps_it()
