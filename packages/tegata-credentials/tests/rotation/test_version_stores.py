"""What a store of versions must keep to, on each of ours: in memory, in a directory, in Secrets Manager's stand-in."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import boto3
import pytest

from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.aws_store import AwsVersions
from tegata_credentials.rotation.errors import RotationBusy, RotationRefused
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.ports import VersionStore
from tegata_credentials.testing.version_store import MemoryVersions
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, PREVIOUS

NAME = "shop-test-secret-mail"
FIRST, SECOND, THIRD = (HiddenText(text) for text in ("one 一\n", '{"two": 2}', "three"))


@dataclass
class Kept:
    """One secret with one version, and a second pair of hands on the same store."""

    store: VersionStore
    twin: VersionStore
    secret: str = NAME

    def holder(self, label: str) -> str | None:
        return self.store.labels(self.secret).holder(label)

    @property
    def first(self) -> str:
        current = self.holder(CURRENT)
        assert current is not None
        return current

    def renew(self, text: HiddenText) -> str:
        before, token = self.first, a_token()
        self.store.put_pending(self.secret, token, text)
        self.store.promote(self.secret, token, replacing=before)
        return token


def a_token() -> str:
    return str(uuid.uuid4())


def in_memory(request: pytest.FixtureRequest) -> Kept:
    store = MemoryVersions()
    store.add(NAME, FIRST)
    return Kept(store, store)


def in_a_directory(request: pytest.FixtureRequest) -> Kept:
    directory = request.getfixturevalue("tmp_path")
    FileVersions(directory).create(NAME, FIRST)
    return Kept(FileVersions(directory), FileVersions(directory))


def in_secrets_manager(request: pytest.FixtureRequest) -> Kept:
    stand_in = request.getfixturevalue("stand_in")
    with_client = stand_in.client()
    with_client.create_secret(Name=NAME, SecretString=FIRST)
    with_client.close()
    session = boto3.Session("AKIASTANDIN", "not-a-key", region_name=stand_in.region)
    store, twin = (AwsVersions(session=session, endpoint_url=stand_in.endpoint_url) for _ in range(2))
    request.addfinalizer(store.close)
    request.addfinalizer(twin.close)
    return Kept(store, twin)


STORES: list[Callable[[pytest.FixtureRequest], Kept]] = [in_memory, in_a_directory, in_secrets_manager]


@pytest.fixture(params=STORES, ids=lambda store: store.__name__.replace("_", " "))
def kept(request: pytest.FixtureRequest) -> Kept:
    return request.param(request)


def test_a_new_secret_has_one_version_which_is_current(kept):
    labels = kept.store.labels(kept.secret)
    assert labels.versions == {kept.first: {CURRENT}}
    assert labels.unfinished is None
    assert labels.name == NAME


def test_a_value_is_read_as_it_was_written(kept):
    found = kept.store.read(kept.secret)
    assert (found.text, found.version, found.stages) == (FIRST, kept.first, {CURRENT})
    assert FIRST not in repr(found)


def test_a_pending_version_is_unfinished_and_leaves_the_current_one_alone(kept):
    token, first = a_token(), kept.first
    kept.store.put_pending(kept.secret, token, SECOND)
    assert kept.store.labels(kept.secret).unfinished == token
    assert kept.store.read(kept.secret, stage=PENDING).text == SECOND
    assert kept.store.read(kept.secret).version == first


def test_the_same_value_again_changes_nothing(kept):
    token = a_token()
    kept.store.put_pending(kept.secret, token, SECOND)
    before = kept.store.labels(kept.secret)
    kept.twin.put_pending(kept.secret, token, SECOND)
    assert kept.store.labels(kept.secret) == before


def test_a_version_never_gets_another_value(kept):
    token = a_token()
    kept.store.put_pending(kept.secret, token, SECOND)
    with pytest.raises(RotationRefused):
        kept.twin.put_pending(kept.secret, token, THIRD)
    assert kept.store.read(kept.secret, version=token).text == SECOND


def test_a_promotion_moves_both_labels_and_ends_the_rotation(kept):
    first = kept.first
    token = kept.renew(SECOND)
    labels = kept.store.labels(kept.secret)
    assert (labels.holder(CURRENT), labels.holder(PREVIOUS), labels.unfinished) == (token, first, None)
    assert kept.twin.read(kept.secret).text == SECOND
    assert kept.twin.read(kept.secret, stage=PREVIOUS).text == FIRST


def test_only_one_version_has_each_label_whatever_happened_before(kept):
    for number in range(4):
        kept.renew(HiddenText(f"value {number}"))
        stages = [stage for held in kept.store.labels(kept.secret).versions.values() for stage in held]
        assert sorted(stage for stage in stages if stage != PENDING) == [CURRENT, PREVIOUS]


def test_a_promotion_from_a_version_that_is_not_current_any_more_is_refused(kept):
    first = kept.first
    kept.renew(SECOND)
    late = a_token()
    kept.twin.put_pending(kept.secret, late, THIRD)
    with pytest.raises(RotationBusy):
        kept.twin.promote(kept.secret, late, replacing=first)
    assert kept.store.read(kept.secret).text == SECOND
    assert kept.holder(PREVIOUS) == first


def test_the_previous_version_can_be_made_current_again(kept):
    first = kept.first
    token = kept.renew(SECOND)
    kept.store.promote(kept.secret, first, replacing=token)
    labels = kept.store.labels(kept.secret)
    assert (labels.holder(CURRENT), labels.holder(PREVIOUS)) == (first, token)
    # Whatever AWSPENDING is on after that, there is nothing to be resumed.
    assert labels.unfinished is None


def test_a_rotation_can_follow_a_return(kept):
    first, token = kept.first, kept.renew(SECOND)
    kept.store.promote(kept.secret, first, replacing=token)
    last = kept.renew(THIRD)
    labels = kept.store.labels(kept.secret)
    assert (labels.holder(CURRENT), labels.holder(PREVIOUS)) == (last, first)


def test_of_two_pending_versions_the_later_has_the_label(kept):
    earlier, later = a_token(), a_token()
    kept.store.put_pending(kept.secret, earlier, SECOND)
    kept.twin.put_pending(kept.secret, later, THIRD)
    labels = kept.store.labels(kept.secret)
    assert labels.unfinished == later
    assert PENDING not in labels.versions.get(earlier, frozenset())


def test_label_and_version_must_agree(kept):
    token = a_token()
    kept.store.put_pending(kept.secret, token, SECOND)
    assert kept.store.read(kept.secret, version=token, stage=PENDING).text == SECOND
    with pytest.raises(SecretNotFound):
        kept.store.read(kept.secret, version=token, stage=CURRENT)


@pytest.mark.parametrize("stage", [PENDING, PREVIOUS])
def test_a_label_that_nothing_has_is_not_found(kept, stage):
    with pytest.raises(SecretNotFound):
        kept.store.read(kept.secret, stage=stage)


def test_what_does_not_exist_is_not_found(kept):
    with pytest.raises(SecretNotFound):
        kept.store.labels("shop-test-secret-none")
    with pytest.raises(SecretNotFound):
        kept.store.read("shop-test-secret-none")
    with pytest.raises(SecretNotFound):
        kept.store.read(kept.secret, version=a_token())


def test_a_version_that_was_never_made_cannot_become_current(kept):
    first = kept.first
    with pytest.raises((SecretNotFound, RotationBusy)):
        kept.store.promote(kept.secret, a_token(), replacing=first)
    assert kept.first == first


def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(kept):
    first, tokens = kept.first, [a_token(), a_token()]
    for token, text in zip(tokens, (SECOND, THIRD), strict=True):
        kept.store.put_pending(kept.secret, token, text)

    def promote(store: VersionStore, token: str) -> str:
        try:
            store.promote(kept.secret, token, replacing=first)
        except RotationBusy:
            return "busy"
        return token

    with ThreadPoolExecutor(2) as threads:
        outcomes = list(threads.map(promote, (kept.store, kept.twin), tokens))
    winners = [outcome for outcome in outcomes if outcome != "busy"]
    assert len(winners) == 1
    assert (kept.holder(CURRENT), kept.holder(PREVIOUS)) == (winners[0], first)


def test_closing_twice_is_nothing_special(kept):
    kept.store.close()
    kept.store.close()
