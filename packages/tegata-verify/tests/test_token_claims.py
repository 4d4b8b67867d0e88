"""The rules for claims, to their exact edges (RFC 9068 §4, RFC 7519 §4.1)."""

from __future__ import annotations

import pytest

from tegata_verify import Generic, Reason, TokenError
from tegata_verify.testing import TestIssuer
from tegata_verify.tokens import check_claims, parse_token

NOW = 1_700_000_000
ISSUER = "https://id.example/demo"


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer(ISSUER, clock=lambda: NOW)


def judge(token, issuer, rules=None):
    """Judge the claims alone; header and signature have tests of their own."""
    return check_claims(parse_token(token, max_bytes=16 * 1024).claims, rules or issuer.rules, now=NOW)


def refusal(token, issuer, rules=None):
    with pytest.raises(TokenError) as caught:
        judge(token, issuer, rules)
    return caught.value.reason


@pytest.mark.parametrize(
    "iss",
    [
        ISSUER + "/",
        ISSUER[:-1],
        ISSUER + "2",
        "https://id.example",
        ISSUER.upper(),
        "http://id.example/demo",
        " " + ISSUER,
        ISSUER + "#x",
        "https://id.example/demo%2f",
        "https://id.exаmple/demo",
        None,
        7,
        [ISSUER],
        {},
    ],
)
def test_the_issuer_must_be_the_same_to_the_letter(issuer, iss):
    assert refusal(issuer.mint(claims={"iss": iss}), issuer) == Reason.UNKNOWN_ISSUER


@pytest.mark.parametrize("aud", ["https://api.test", ["https://api.test"], ["https://other.test", "https://api.test"]])
def test_an_audience_of_ours_is_accepted_alone_or_in_a_list(issuer, aud):
    judge(issuer.mint(claims={"aud": aud}), issuer)


@pytest.mark.parametrize(
    "aud", ["https://api.test/", "https://api", "", [], ["x"], "HTTPS://API.TEST", ["https://api.test "]]
)
def test_an_audience_of_others_is_refused(issuer, aud):
    assert refusal(issuer.mint(claims={"aud": aud}), issuer) == Reason.WRONG_AUDIENCE


@pytest.mark.parametrize("aud", [7, {"https://api.test": 1}, [["https://api.test"]], ["https://api.test", 7], True])
def test_an_audience_of_the_wrong_type_is_refused(issuer, aud):
    assert refusal(issuer.mint(claims={"aud": aud}), issuer) == Reason.MALFORMED_CLAIM


@pytest.mark.parametrize("name", ["aud", "exp", "sub", "client_id"])
def test_each_required_claim_is_required(issuer, name):
    assert refusal(issuer.mint(claims={name: None}), issuer) == Reason.MISSING_CLAIM


@pytest.mark.parametrize("name", ["sub", "client_id"])
def test_an_empty_name_is_no_name(issuer, name):
    assert refusal(issuer.mint(claims={name: ""}), issuer) == Reason.MISSING_CLAIM


def test_a_generic_issuer_may_require_other_claims(issuer):
    rules = Generic(ISSUER, [issuer.audience], required_claims=["sub", "jti"])
    judge(issuer.mint(claims={"client_id": None}), issuer, rules)
    assert refusal(issuer.mint(claims={"jti": None}), issuer, rules) == Reason.MISSING_CLAIM


@pytest.mark.parametrize(
    ("claim", "offset", "reason"),
    [
        ("exp", -29, None),
        ("exp", -29.5, None),
        ("exp", -30, Reason.EXPIRED),
        ("exp", -31, Reason.EXPIRED),
        ("exp", -(10**9), Reason.EXPIRED),
        ("nbf", 30, None),
        ("nbf", 31, Reason.NOT_YET_VALID),
        ("iat", 30, None),
        ("iat", 31, Reason.ISSUED_IN_FUTURE),
        ("iat", -(10**9), None),
    ],
)
def test_times_are_judged_to_the_second_with_leeway(issuer, claim, offset, reason):
    token = issuer.mint(claims={claim: NOW + offset})
    if reason is None:
        judge(token, issuer)
    else:
        assert refusal(token, issuer) == reason


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "value", ["1700000300", True, [], {}, 1e999, 10**400, -(10**400)], ids=lambda value: str(value)[:12]
)
def test_a_time_that_is_no_number_is_refused(issuer, claim, value):
    claims = parse_token(issuer.mint(), max_bytes=16 * 1024).claims
    with pytest.raises(TokenError) as caught:
        check_claims({**claims, claim: value}, issuer.rules, now=NOW)
    assert caught.value.reason == Reason.MALFORMED_CLAIM
