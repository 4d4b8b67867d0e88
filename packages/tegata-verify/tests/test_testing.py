"""The issuer for users' tests, checked with a library that is not ours."""

from __future__ import annotations

import jwt
import pytest

from tegata_verify import Reason, TokenError
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "EdDSA"])
def test_its_tokens_are_good_for_another_library(algorithm):
    issuer = TestIssuer(algorithm=algorithm)
    token = issuer.mint(subject="me", scope=["write", "read"])
    keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(issuer.jwks()).keys}
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(
        token, keys[header["kid"]].key, algorithms=[algorithm], audience=issuer.audience, issuer=issuer.issuer
    )
    assert header["typ"] == "at+jwt"
    assert (claims["sub"], claims["scope"]) == ("me", "write read")


def test_it_publishes_no_private_key():
    assert not any({"d", "p", "q", "k"} & set(key) for key in TestIssuer().jwks()["keys"])


def test_two_issuers_have_different_keys():
    assert TestIssuer().key.as_dict(private=False) != TestIssuer().key.as_dict(private=False)


async def test_a_rotated_key_is_trusted_and_a_withdrawn_one_is_not():
    issuer = TestIssuer()
    verifier, old = issuer.verifier(), issuer.mint()
    issuer.rotate()
    await verifier.verify(issuer.mint())
    await verifier.verify(old)
    issuer.rotate(withdraw=True)
    with pytest.raises(TokenError) as caught:
        await issuer.verifier().verify(old)
    assert caught.value.reason == Reason.UNKNOWN_KEY


async def test_claims_and_header_can_be_laid_over_and_taken_away():
    issuer = TestIssuer()
    verifier = issuer.verifier()
    assert (await verifier.verify(issuer.mint(claims={"department": "beer"}))).claims["department"] == "beer"
    with pytest.raises(TokenError):
        await verifier.verify(issuer.mint(claims={"client_id": None}))
    with pytest.raises(TokenError):
        await verifier.verify(issuer.mint(header={"typ": "JWT"}))
