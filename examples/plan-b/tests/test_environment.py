"""What the environment must say before the application starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tegata_verify.alb import AlbVerifier

HERE = Path(__file__).parents[1]
ARN = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/front/50dc6c495c0c9188"
COGNITO = {"COGNITO_USER_POOL_ID": "eu-central-1_AbCdEfGhI", "COGNITO_APP_CLIENT_ID": "web"}
BEHIND = {"ALB_ARNS": f"{ARN}, {ARN.replace('1111', '2222')}", "TRUSTED_PEERS": "10.0.32.0/20, 10.0.48.0/20"}


def test_the_pool_alone_is_enough_for_development():
    from app.cognito_utils import build_guard

    guard = build_guard(COGNITO)
    assert guard.parts.alb is None
    assert guard.verifier.issuers[0].issuer.endswith("/eu-central-1_AbCdEfGhI")


def test_several_load_balancers_and_networks_are_separated_by_commas():
    from app.cognito_utils import build_guard

    alb = build_guard({**COGNITO, **BEHIND}).parts.alb
    assert isinstance(alb, AlbVerifier)
    assert len(alb.rules.alb_arns) == 2
    assert alb.rules.trusts("10.0.48.1")
    assert not alb.rules.trusts("127.0.0.1")


INCOMPLETE = {
    "nothing": ({}, "COGNITO_USER_POOL_ID or TEGATA_ISSUER"),
    "two issuers": ({**COGNITO, "TEGATA_ISSUER": "https://id.example/demo"}, "either"),
    "no client": ({"COGNITO_USER_POOL_ID": "eu-central-1_AbCdEfGhI"}, "client_ids"),
    "a region that is not the pool's": ({**COGNITO, "COGNITO_REGION": "eu-west-1"}, "user_pool_id"),
    "Tegata without an audience": ({"TEGATA_ISSUER": "https://id.example/demo"}, "audiences"),
    "load balancers without peers": ({**COGNITO, "ALB_ARNS": ARN}, "TRUSTED_PEERS"),
    "peers without load balancers": ({**COGNITO, "TRUSTED_PEERS": "10.0.0.0/8"}, "ALB_ARNS"),
    "a server that believes everybody": ({**COGNITO, **BEHIND, "FORWARDED_ALLOW_IPS": "*"}, "FORWARDED_ALLOW_IPS"),
    "a server that believes a trusted peer": (
        {**COGNITO, **BEHIND, "FORWARDED_ALLOW_IPS": "10.0.33.7"},
        "FORWARDED_ALLOW_IPS",
    ),
    "a server that believes a network around the peers": (
        {**COGNITO, **BEHIND, "FORWARDED_ALLOW_IPS": "192.0.2.1, 10.0.0.0/8"},
        "FORWARDED_ALLOW_IPS",
    ),
    "trusted loopback, which uvicorn believes by itself": (
        {**COGNITO, "ALB_ARNS": ARN, "TRUSTED_PEERS": "127.0.0.0/8"},
        "FORWARDED_ALLOW_IPS",
    ),
}


@pytest.mark.parametrize(("environment", "said"), INCOMPLETE.values(), ids=INCOMPLETE)
def test_it_does_not_start_with_an_environment_that_says_too_little_or_too_much(environment, said):
    from app.cognito_utils import build_guard

    with pytest.raises(ValueError, match=said):
        build_guard(environment)


def test_the_server_process_ends_with_the_reason(server):
    with server({**COGNITO, "ALB_ARNS": ARN}) as said:
        assert "set ALB_ARNS and TRUSTED_PEERS, or neither" in said


def test_each_variable_of_the_code_is_explained_at_its_top():
    import re

    import app.cognito_utils

    source = Path(app.cognito_utils.__file__).read_text()
    read = set(re.findall(r'(?:get\(|split\(\s*environment, )"([A-Z_]+)"', source))
    assert {"COGNITO_USER_POOL_ID", "TRUSTED_PEERS", "FORWARDED_ALLOW_IPS"} <= read
    assert all(re.search(rf"\b{name}\b", app.cognito_utils.__doc__ or "") for name in read)
