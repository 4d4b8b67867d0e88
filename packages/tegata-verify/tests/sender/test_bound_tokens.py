"""A bound token is no bearer token, whoever is asked about it (RFC 7800, RFC 8705 §3, RFC 9449 §7.1)."""

from __future__ import annotations

import pytest

from tegata_verify import Guard, HttpRequest, Reason, SyncGuard, SyncVerifier, TokenError
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.anyio

BINDINGS = [{"jkt": "a" * 43}, {"x5t#S256": "b" * 43}, {"kid": "of another kind"}, {}, "text", False]


@pytest.fixture(scope="module")
def issuer() -> TestIssuer:
    return TestIssuer()


def request_with(token: str) -> HttpRequest:
    return HttpRequest("GET", "https://api.test/", ((b"authorization", f"Bearer {token}".encode()),))


@pytest.mark.parametrize("binding", BINDINGS, ids=str)
async def test_verify_alone_refuses_a_bound_token_at_first_sight_and_again(issuer, binding):
    verifier, token = issuer.verifier(), issuer.mint(claims={"cnf": binding})
    threads = SyncVerifier.of(verifier)
    for _ in range(2):
        with pytest.raises(TokenError) as refused:
            await verifier.verify(token)
        assert refused.value.reason is Reason.BOUND_TOKEN
        with pytest.raises(TokenError) as refused:
            threads.verify(token)
        assert refused.value.reason is Reason.BOUND_TOKEN


async def test_a_caller_who_checks_the_binding_is_told_of_it_and_opens_nothing_for_others(issuer):
    verifier, token = issuer.verifier(), issuer.mint(claims={"cnf": {"jkt": "a" * 43}})
    threads = SyncVerifier.of(verifier)
    asked = [
        await verifier.verify(token, caller_checks_binding=True),
        threads.verify(token, caller_checks_binding=True),
    ]
    assert [principal.claims["cnf"]["jkt"] for principal in asked] == ["a" * 43] * 2
    with pytest.raises(TokenError):
        await verifier.verify(token)  # though it is remembered now
    with pytest.raises(TokenError):
        threads.verify(token)


@pytest.mark.parametrize("binding", BINDINGS, ids=str)
async def test_a_guard_that_was_told_nothing_of_bindings_refuses_it_too(issuer, binding):
    token = issuer.mint(claims={"cnf": binding})
    with pytest.raises(TokenError):
        await Guard(issuer.verifier()).authorize(request_with(token))
    with pytest.raises(TokenError):
        SyncGuard(issuer.verifier()).authorize(request_with(token))
