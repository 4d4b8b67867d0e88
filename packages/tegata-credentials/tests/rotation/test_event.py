"""What Secrets Manager sends is read strictly, and nothing of it is repeated in a refusal."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from tegata_credentials.rotation.errors import RotationRefused
from tegata_credentials.rotation.event import STEPS, RotationEvent

ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-prod-secret-database-AbCdEf"
TOKEN = "6c9a4a33-1f1e-4c19-9be0-6a3c0b9d0f11"


def an_event(**changes):
    event = {"SecretId": ARN, "ClientRequestToken": TOKEN, "Step": "setSecret", **changes}
    return {name: value for name, value in event.items() if value is not ...}


@pytest.mark.parametrize("step", STEPS)
def test_each_of_the_four_steps_is_read(step):
    assert RotationEvent.parse(an_event(Step=step)) == RotationEvent(ARN, TOKEN, step)


def test_further_fields_are_left_alone():
    event = an_event(RotationToken="9a1b", SomethingOfTheFuture={"a": 1})
    assert RotationEvent.parse(MappingProxyType(event)) == RotationEvent(ARN, TOKEN, "setSecret")


@pytest.mark.parametrize("name", ["SecretId", "ClientRequestToken", "Step"])
@pytest.mark.parametrize("value", [..., None, "", 7, True, b"x", ["x"], {"x": 1}, "x" * 2049, "a\nb", "a\0b"], ids=repr)
def test_a_field_that_is_missing_or_no_text_is_refused_by_its_name(name, value):
    with pytest.raises(RotationRefused, match=f"^{name} is missing"):
        RotationEvent.parse(an_event(**{name: value}))


@pytest.mark.parametrize("step", ["rotate", "setsecret", "createSecret ", "SETSECRET"])
def test_an_unknown_step_is_refused(step):
    with pytest.raises(RotationRefused, match="none of createSecret"):
        RotationEvent.parse(an_event(Step=step))


@pytest.mark.parametrize("event", [None, "event", ["SecretId"], 5])
def test_what_is_no_object_is_refused(event):
    with pytest.raises(RotationRefused, match="is an object"):
        RotationEvent.parse(event)


def test_a_refusal_repeats_nothing_of_the_event():
    for name in ("SecretId", "ClientRequestToken", "Step"):
        with pytest.raises(RotationRefused) as refused:
            RotationEvent.parse(an_event(**{name: "pass\nword-0123456789"}))
        assert "0123456789" not in str(refused.value)


def test_an_event_is_a_value_that_does_not_change():
    event = RotationEvent.parse(an_event())
    with pytest.raises(AttributeError):
        event.token = "another"
