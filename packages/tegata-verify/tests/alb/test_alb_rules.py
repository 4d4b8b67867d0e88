"""What may be configured, and the addresses that follow from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tegata_verify.alb import Alb, AlbCognito

from .conftest import ARN, CLIENT, ISSUER, KID

GOV = "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
CHINA = "arn:aws-cn:elasticloadbalancing:cn-north-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
POOL = "eu-central-1_AbCdEfGhI"

RULES = Alb([ARN], ISSUER, [CLIENT], trusted_peers=["10.0.0.0/24", "2001:db8::/64"])


def test_keys_are_where_aws_publishes_them():
    assert RULES.build_key_url(ARN, KID) == f"https://public-keys.auth.elb.eu-central-1.amazonaws.com/{KID}"
    assert replace(RULES, alb_arns=[GOV]).build_key_url(GOV, KID) == (
        f"https://s3-us-gov-west-1.amazonaws.com/aws-elb-public-keys-prod-us-gov-west-1/{KID}"
    )


def test_a_partition_without_a_documented_address_needs_one():
    with pytest.raises(ValueError, match="key_url"):
        replace(RULES, alb_arns=[CHINA])
    given = replace(RULES, alb_arns=[CHINA], key_url="https://keys.example/{region}/{kid}")
    assert given.build_key_url(CHINA, KID) == f"https://keys.example/cn-north-1/{KID}"


ARNS = {
    "a classic one": ARN.replace("/app/", "/"),
    "a network load balancer": ARN.replace("/app/", "/net/"),
    "a target group": ARN.replace("loadbalancer/app", "targetgroup"),
    "a listener": ARN.replace("loadbalancer", "listener") + "/0123456789abcdef",
    "a wildcard": ARN.replace("50dc6c495c0c9188", "*"),
    "a region that is an address": ARN.replace("eu-central-1", "evil.example/x"),
    "no account": ARN.replace("111122223333", ""),
    "a line end": ARN + "\n",
    "nothing": "",
}


@pytest.mark.parametrize("arn", ARNS.values(), ids=ARNS)
def test_what_is_no_arn_of_an_application_load_balancer_is_refused(arn):
    with pytest.raises(ValueError, match="alb_arns"):
        replace(RULES, alb_arns=[arn])


WRONG = {
    "no load balancer": {"alb_arns": []},
    "no client": {"client_ids": []},
    "a client without a name": {"client_ids": [""]},
    "no peers": {"trusted_peers": []},
    "the whole internet": {"trusted_peers": ["0.0.0.0/0"]},
    "the whole internet in IPv6": {"trusted_peers": ["::/0"]},
    "a host of a network": {"trusted_peers": ["10.0.0.7/24"]},
    "a name for a network": {"trusted_peers": ["alb.internal"]},
    "plain http": {"issuer": "http://id.example/demo"},
    "keys over plain http": {"key_url": "http://keys.example/{kid}"},
    "keys without a name": {"key_url": "https://keys.example/"},
    "a long leeway": {"leeway_seconds": 301},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
def test_rules_that_could_not_be_checked_safely_are_refused(changes):
    with pytest.raises(ValueError, match=r".+"):
        replace(RULES, **changes)


def test_a_single_text_is_one_value_and_no_set_of_letters():
    rules = Alb(ARN, ISSUER, CLIENT, trusted_peers="10.0.0.0/24")
    assert (rules.alb_arns, rules.client_ids) == ({ARN}, {CLIENT})
    assert rules.trusts("10.0.0.200")


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.0.0.1", True),
        ("10.0.1.0", False),
        ("2001:db8::7", True),
        ("2001:db8:0:1::", False),
        ("::ffff:10.0.0.1", True),
    ],
)
def test_peers_are_compared_as_addresses(peer, trusted):
    assert RULES.trusts(peer) is trusted


def test_a_pool_gives_the_issuer():
    assert AlbCognito([ARN], POOL, [CLIENT], trusted_peers=["10.0.0.0/24"]).issuer == ISSUER
    assert AlbCognito([ARN], POOL, [CLIENT], trusted_peers=["10.0.0.0/24"], region="eu-central-1").issuer == ISSUER


@pytest.mark.parametrize(
    ("pool", "region"), [("AbCdEfGhI", None), (POOL, "eu-west-1"), (POOL + "/x", None), ("evil.example/x_Ab", None)]
)
def test_what_is_no_pool_of_that_region_is_refused(pool, region):
    with pytest.raises(ValueError, match="user_pool_id"):
        AlbCognito([ARN], pool, [CLIENT], trusted_peers=["10.0.0.0/24"], region=region)
