"""Which secrets may be rotated: those of the list, by their whole names, and no other."""

from __future__ import annotations

import pytest

from tegata_credentials.rotation.errors import RotationRefused
from tegata_credentials.rotation.steps import Rotation

from .cases import NAME, VALUE, Case


def by_arn(arn):
    return arn


def by_arn_without_its_end(arn):
    return arn.rpartition("-")[0]


def by_name(_arn):
    return NAME


@pytest.mark.parametrize("form", [by_arn, by_arn_without_its_end, by_name])
@pytest.mark.parametrize("called", [by_arn, by_arn_without_its_end, by_name])
def test_a_secret_is_known_by_its_arn_and_by_the_name_it_is_allowed_by(form, called):
    case = Case()
    case.rotation = Rotation(case.store, {form(case.arn): case.fake})
    token = case.announce()
    # Secrets Manager sends the whole ARN; whoever calls by another name has to use the one in the list.
    if called in (by_arn, form):
        case.do("createSecret", token, called(case.arn))
        assert case.fake.acts == ["create"]
    else:
        with pytest.raises(RotationRefused):
            case.do("createSecret", token, called(case.arn))


@pytest.mark.parametrize(
    "other",
    [
        f"{NAME}-2",
        f"x{NAME}",
        NAME[:-1],
        NAME.upper(),
        f"{NAME} ",
        f"{NAME}/",
        "acme-dev-secret-database",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + NAME + "-more-AbCdEf",
        "arn:aws:ssm:eu-west-1:123456789012:secret:" + NAME + "-AbCdEf",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + NAME + "-AbCde",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:" + NAME + "-AbCdEfG",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x/" + NAME + "-AbCdEf",
    ],
)
def test_any_other_secret_is_refused_before_the_store_is_asked(other):
    case = Case(key=NAME)
    case.store.labels = None  # whoever asks for it finds out
    with pytest.raises(RotationRefused, match="not one of those"):
        case.do("createSecret", "0b51", other)


def test_the_beginning_of_an_arn_that_looks_like_an_allowed_arn_is_refused():
    """`secret:acme-prodab` without its end looks like `acme` with one: the store knows the real name."""
    case = Case(key="acme")
    case.store.add("acme", VALUE)
    longer = case.store.add("acme-prodab", VALUE)
    case.store.announce(longer, "0b51")
    with pytest.raises(RotationRefused, match="another secret"):
        case.do("createSecret", "0b51", longer.rpartition("-")[0])
    assert case.fake.asked == []


def test_an_arn_that_is_allowed_does_not_allow_the_same_name_elsewhere(case):
    with pytest.raises(RotationRefused):
        case.do("createSecret", "0b51", case.arn.replace("eu-central-1", "us-east-1"))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(":000000000000:", ":999999999999:"), ("eu-central-1", "us-east-1"), ("arn:aws:", "arn:aws-cn:")],
)
@pytest.mark.parametrize("form", [by_arn_without_its_end, by_name])
def test_a_secret_of_the_same_name_in_another_account_is_not_asked_for(form, ours, theirs):
    case = Case()
    case.rotation = Rotation(case.store, {form(case.arn): case.fake})
    asked = []
    labels = case.store.labels
    case.store.labels = lambda secret: asked.append(secret) or labels(secret)
    for foreign in (case.arn.replace(ours, theirs), case.arn[:-6] + "AbCdEf"):
        with pytest.raises(RotationRefused):
            case.do("createSecret", "0b51", foreign)
    assert not [secret for secret in asked if theirs in secret or secret.endswith("AbCdEf")]
    assert case.fake.asked == []
