"""The contract of a store of versions, on the one in memory and on Secrets Manager's stand-in, and lost answers."""

from __future__ import annotations

import logging
import uuid

import boto3
import pytest

from tegata_credentials.errors import SecretAccessDenied, SecretNotFound, SecretUnavailable
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.errors import RotationBusy, RotationRefused
from tegata_credentials.testing.secrets_manager import ACCESS_DENIED, LOST_RESPONSE, THROTTLED, UNAVAILABLE, Meanwhile
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

FIRST, NEXT, OTHER = (HiddenText(f"value-{name}-0123456789abcdef") for name in ("first", "next", "other"))
LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:rotation"


class Kept:
    """One secret in one kind of store."""

    def __init__(self, store, secret, announce, move):
        self.store, self.secret, self.announce, self.move = store, secret, announce, move

    @property
    def first(self):
        return self.store.labels(self.secret).holder(CURRENT)


def in_memory():
    store = MemoryVersions()
    arn = store.add("acme-prod-secret-database", FIRST)
    return Kept(store, arn, lambda token: store.announce(arn, token), lambda *to: store.move(arn, *to))


@pytest.fixture
def aws(stand_in):
    client = stand_in.client()
    arn = client.create_secret(Name="acme-prod-secret-database", SecretString=FIRST)["ARN"]
    stand_in.set_rotation_lambda(arn, LAMBDA)
    session = boto3.Session("AKIASTANDIN", "not-a-key", region_name=stand_in.region)
    store = AwsVersions(session=session, endpoint_url=stand_in.endpoint_url)

    def announce(token):
        client.rotate_secret(SecretId=arn, ClientRequestToken=token)

    def move(stage, version):
        holder = store.labels(arn).holder(stage)
        where = {"MoveToVersionId": version} if version else {}
        where |= {"RemoveFromVersionId": holder} if holder else {}
        client.update_secret_version_stage(SecretId=arn, VersionStage=stage, **where)

    stand_in.calls.clear()
    yield Kept(store, arn, announce, move)
    store.close()
    client.close()


@pytest.fixture(params=["in memory", "in Secrets Manager"])
def kept(request):
    return in_memory() if request.param == "in memory" else request.getfixturevalue("aws")


def a_token():
    return str(uuid.uuid4())


def test_an_announced_token_is_pending_and_has_no_value(kept):
    token = a_token()
    kept.announce(token)
    assert kept.store.labels(kept.secret).versions[token] == {PENDING}
    with pytest.raises(SecretNotFound):
        kept.store.read(kept.secret, version=token, stage=PENDING)
    with pytest.raises(SecretNotFound):
        kept.store.read(kept.secret, version=token)


def test_a_second_rotation_does_not_begin_while_one_is_unfinished(kept):
    kept.announce(a_token())
    with pytest.raises(Exception, match=r"begun|previous rotation"):
        kept.announce(a_token())


def test_a_value_is_kept_once_and_the_same_again_changes_nothing(kept):
    token = a_token()
    kept.announce(token)
    kept.store.put_pending(kept.secret, token, NEXT)
    kept.store.put_pending(kept.secret, token, NEXT)
    assert kept.store.read(kept.secret, version=token, stage=PENDING).text == NEXT
    assert kept.store.labels(kept.secret).unfinished == token


def test_another_value_for_a_token_is_refused(kept):
    token = a_token()
    kept.announce(token)
    kept.store.put_pending(kept.secret, token, NEXT)
    with pytest.raises(RotationRefused, match="another value"):
        kept.store.put_pending(kept.secret, token, OTHER)
    assert kept.store.read(kept.secret, version=token).text == NEXT


def test_promotion_moves_current_and_previous(kept):
    first, token = kept.first, a_token()
    kept.announce(token)
    kept.store.put_pending(kept.secret, token, NEXT)
    kept.store.promote(kept.secret, token, replacing=first)
    labels = kept.store.labels(kept.secret)
    assert (labels.holder(CURRENT), labels.holder(PREVIOUS), labels.unfinished) == (token, first, None)
    assert kept.store.read(kept.secret).text == NEXT
    assert kept.store.read(kept.secret, stage=PREVIOUS).text == FIRST


def test_a_promotion_back_leaves_no_rotation_unfinished(kept):
    first, token = kept.first, a_token()
    kept.announce(token)
    kept.store.put_pending(kept.secret, token, NEXT)
    kept.store.promote(kept.secret, token, replacing=first)
    kept.store.promote(kept.secret, first, replacing=token)
    labels = kept.store.labels(kept.secret)
    assert (labels.holder(CURRENT), labels.holder(PREVIOUS), labels.holder(PENDING)) == (first, token, None)
    kept.announce(a_token())


def test_promotion_is_refused_when_another_version_has_become_current(kept):
    first, token, rival = kept.first, a_token(), a_token()
    kept.store.put_pending(kept.secret, rival, OTHER)
    kept.store.put_pending(kept.secret, token, NEXT)
    kept.move(CURRENT, rival)
    with pytest.raises(RotationBusy):
        kept.store.promote(kept.secret, token, replacing=first)
    assert kept.first == rival


def test_another_rotation_can_begin_after_a_rollback(kept):
    first, token = kept.first, a_token()
    kept.announce(token)
    kept.store.put_pending(kept.secret, token, NEXT)
    kept.store.promote(kept.secret, token, replacing=first)
    kept.store.promote(kept.secret, first, replacing=token)
    assert PENDING not in kept.store.labels(kept.secret).versions[token]
    kept.announce(a_token())


def test_a_rollback_takes_away_what_a_promotion_left_that_broke_off(kept):
    first, token = kept.first, a_token()
    kept.announce(token)
    kept.store.put_pending(kept.secret, token, NEXT)
    kept.store.promote(kept.secret, token, replacing=first)
    kept.move(PENDING, token)
    kept.store.promote(kept.secret, first, replacing=token)
    assert kept.first == first
    kept.announce(a_token())


def test_label_and_version_have_to_agree(kept):
    with pytest.raises(SecretNotFound):
        kept.store.read(kept.secret, version=kept.first, stage=PENDING)


def test_a_secret_that_is_not_there_is_not_found(kept):
    with pytest.raises(SecretNotFound):
        kept.store.labels("acme-prod-secret-nothing")


def test_labels_name_the_secret_in_full(kept):
    labels = kept.store.labels("acme-prod-secret-database")
    assert (labels.secret, labels.name) == (kept.secret, "acme-prod-secret-database")


@pytest.mark.parametrize("times", [1, 4], ids=["of the first try", "of every try"])
def test_a_lost_answer_to_a_put_is_a_success(aws, stand_in, times):
    token = a_token()
    aws.announce(token)
    stand_in.faults.next("PutSecretValue", LOST_RESPONSE, times=times)
    aws.store.put_pending(aws.secret, token, NEXT)
    assert aws.store.read(aws.secret, version=token).text == NEXT


@pytest.mark.parametrize("times", [1, 4], ids=["of the first try", "of every try"])
def test_a_lost_answer_to_a_promotion_is_a_success(aws, stand_in, times):
    first, token = aws.first, a_token()
    aws.store.put_pending(aws.secret, token, NEXT)
    stand_in.faults.next("UpdateSecretVersionStage", LOST_RESPONSE, times=times)
    aws.store.promote(aws.secret, token, replacing=first)
    labels = aws.store.labels(aws.secret)
    assert (labels.holder(CURRENT), labels.holder(PREVIOUS)) == (token, first)


def test_a_promotion_that_comes_second_is_busy_although_its_answer_is_lost(aws, stand_in):
    first, token, rival = aws.first, a_token(), a_token()
    aws.store.put_pending(aws.secret, rival, OTHER)
    aws.store.put_pending(aws.secret, token, NEXT)
    stand_in.faults.next("UpdateSecretVersionStage", Meanwhile(lambda call: moved.append(aws.move(CURRENT, rival))))
    moved = []
    with pytest.raises(RotationBusy):
        aws.store.promote(aws.secret, token, replacing=first)
    assert (len(moved), aws.first) == (1, rival)


def test_throttling_is_waited_for(aws, stand_in):
    token = a_token()
    aws.announce(token)
    stand_in.faults.next("PutSecretValue", THROTTLED)
    aws.store.put_pending(aws.secret, token, NEXT)
    assert stand_in.calls.count("PutSecretValue") == 2


def test_a_change_that_was_not_made_is_told_as_what_it_is(aws, stand_in):
    token = a_token()
    aws.announce(token)
    stand_in.faults.next("PutSecretValue", UNAVAILABLE, times=4)
    with pytest.raises(SecretUnavailable):
        aws.store.put_pending(aws.secret, token, NEXT)
    stand_in.faults.next("PutSecretValue", ACCESS_DENIED)
    with pytest.raises(SecretAccessDenied):
        aws.store.put_pending(aws.secret, token, NEXT)
    aws.store.put_pending(aws.secret, token, NEXT)
    first = aws.first
    stand_in.faults.next("UpdateSecretVersionStage", ACCESS_DENIED)
    with pytest.raises(SecretAccessDenied):
        aws.store.promote(aws.secret, token, replacing=first)
    assert aws.first == first


def test_botocores_debug_log_shows_no_value(aws, caplog):
    token = a_token()
    aws.announce(token)
    with caplog.at_level(logging.DEBUG):
        aws.store.put_pending(aws.secret, token, NEXT)
        with pytest.raises(RotationRefused):
            aws.store.put_pending(aws.secret, token, OTHER)
        aws.store.read(aws.secret, version=token)
        aws.store.promote(aws.secret, token, replacing=aws.first)
    assert "botocore" in caplog.text
    assert not any(value in caplog.text for value in (FIRST, NEXT, OTHER))
