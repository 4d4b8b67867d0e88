"""What AWS documents and moto does otherwise: right through the stand-in, and still wrong in moto alone.

The second half of each pair is there to be noticed: when it fails, moto has been mended and a correction can go.
Sources: AWS Secrets Manager API Reference and User Guide, "Rotation by Lambda function".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tegata_credentials.testing.secrets_manager import StandIn, new_token

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
LAMBDA = "arn:aws:lambda:eu-west-1:123456789012:function:rotation"


@pytest.fixture
def first(moto: Any) -> str:
    """The version of the secret `s` that is current at first."""
    return str(moto.create_secret(Name="s", SecretString="one")["VersionId"])


def code_of(call: Callable[..., object], **parameters: object) -> str:
    """Return the error code of a refused call, `no error` of one that was granted."""
    try:
        call(**parameters)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "no error"


def labels(client: Any, secret: str = "s") -> dict[str, set[str]]:
    described = client.describe_secret(SecretId=secret)
    return {version: set(stages) for version, stages in described.get("VersionIdsToStages", {}).items()}


def put_pending(client: Any, token: str, text: str) -> Any:
    return client.put_secret_value(SecretId="s", ClientRequestToken=token, SecretString=text, VersionStages=[PENDING])


def move(client: Any, stage: str, source: str | None, target: str | None) -> Any:
    versions = {"RemoveFromVersionId": source, "MoveToVersionId": target}
    given = {name: version for name, version in versions.items() if version}
    return client.update_secret_version_stage(SecretId="s", VersionStage=stage, **given)


def value(client: Any, **which: str) -> str:
    return str(client.get_secret_value(SecretId="s", **which)["SecretString"])


class TestAVersionIsWrittenOnce:
    def test_another_value_with_the_same_token_is_refused(self, client: Any, first: str) -> None:
        token = new_token()
        put_pending(client, token, "two")
        assert code_of(put_pending, client=client, token=token, text="three") == "ResourceExistsException"
        assert value(client, VersionId=token) == "two"

    def test_moto_alone_overwrites_it(self, moto: Any, first: str) -> None:
        token = new_token()
        put_pending(moto, token, "two")
        assert code_of(put_pending, client=moto, token=token, text="three") == "no error"
        assert value(moto, VersionId=token) == "three"

    def test_the_same_value_again_changes_nothing(self, client: Any, first: str) -> None:
        token = new_token()
        put_pending(client, token, "two")
        move(client, CURRENT, first, token)
        before = labels(client)
        again = put_pending(client, token, "two")
        assert (again["VersionId"], set(again["VersionStages"])) == (token, {CURRENT, PENDING})
        assert labels(client) == before

    def test_moto_alone_takes_the_current_label_away(self, moto: Any, first: str) -> None:
        token = new_token()
        put_pending(moto, token, "two")
        move(moto, CURRENT, first, token)
        put_pending(moto, token, "two")
        assert labels(moto)[token] == {PENDING}

    def test_the_creation_with_the_same_token_is_either_the_same_or_refused(self, client: Any) -> None:
        token = new_token()
        created = client.create_secret(Name="s", ClientRequestToken=token, SecretString="one")
        again = client.create_secret(Name="s", ClientRequestToken=token, SecretString="one")
        assert again["ARN"] == created["ARN"]
        other = {"Name": "s", "ClientRequestToken": token, "SecretString": "two"}
        assert code_of(client.create_secret, **other) == "ResourceExistsException"
        assert code_of(client.create_secret, Name="s", SecretString="one") == "ResourceExistsException"
        assert value(client) == "one"

    def test_an_update_with_the_same_token_and_another_value_is_refused(self, client: Any, first: str) -> None:
        other = {"SecretId": "s", "ClientRequestToken": first, "SecretString": "two"}
        assert code_of(client.update_secret, **other) == "ResourceExistsException"
        assert value(client) == "one"


class TestLabels:
    def test_a_read_without_label_is_of_the_current_version(self, client: Any, first: str) -> None:
        token = new_token()
        put_pending(client, token, "two")
        move(client, CURRENT, first, token)
        assert value(client) == "two"
        batch = client.batch_get_secret_value(SecretIdList=["s"])
        assert [each["SecretString"] for each in batch["SecretValues"]] == ["two"]
        filtered = client.batch_get_secret_value(Filters=[{"Key": "name", "Values": ["s"]}])
        assert [each["SecretString"] for each in filtered["SecretValues"]] == ["two"]

    def test_moto_alone_goes_on_reading_the_old_one(self, moto: Any, first: str) -> None:
        token = new_token()
        put_pending(moto, token, "two")
        move(moto, CURRENT, first, token)
        assert (value(moto), value(moto, VersionStage=CURRENT)) == ("one", "two")

    def test_the_previous_label_follows_the_current_one(self, client: Any, first: str) -> None:
        second, third = new_token(), new_token()
        put_pending(client, second, "two")
        move(client, CURRENT, first, second)
        assert labels(client) == {first: {PREVIOUS}, second: {CURRENT, PENDING}}
        put_pending(client, third, "three")
        move(client, CURRENT, second, third)
        assert labels(client) == {second: {PREVIOUS}, third: {CURRENT, PENDING}}
        move(client, CURRENT, third, second)
        assert labels(client) == {second: {CURRENT}, third: {PREVIOUS, PENDING}}

    def test_a_value_put_by_hand_after_a_rotation_becomes_the_only_current_one(self, client: Any, first: str) -> None:
        second = new_token()
        put_pending(client, second, "two")
        move(client, CURRENT, first, second)
        third = client.put_secret_value(SecretId="s", SecretString="three")["VersionId"]
        assert labels(client) == {second: {PREVIOUS, PENDING}, third: {CURRENT}}
        assert value(client) == "three"

    def test_moto_alone_has_two_current_ones_then(self, moto: Any, first: str) -> None:
        second = new_token()
        put_pending(moto, second, "two")
        move(moto, CURRENT, first, second)
        moto.put_secret_value(SecretId="s", SecretString="three")
        assert sum(CURRENT in stages for stages in labels(moto).values()) == 2

    def test_a_label_is_only_taken_from_the_version_that_has_it(self, client: Any, first: str) -> None:
        second = new_token()
        put_pending(client, second, "two")
        before = labels(client)
        for source, target in [(second, first), (None, second), (new_token(), second), (first, new_token())]:
            asked = {"client": client, "stage": CURRENT, "source": source, "target": target}
            assert code_of(move, **asked) == "InvalidParameterException"
        assert code_of(move, client=client, stage=PENDING, source=None, target=first) == "InvalidParameterException"
        assert labels(client) == before

    def test_moto_alone_loses_the_label_when_the_target_does_not_exist(self, moto: Any, first: str) -> None:
        code_of(move, client=moto, stage=CURRENT, source=first, target=new_token())
        assert labels(moto) == {first: set()}

    def test_moto_alone_gives_one_label_to_two_versions(self, moto: Any, first: str) -> None:
        put_pending(moto, new_token(), "two")
        move(moto, PENDING, None, first)
        assert sum(PENDING in stages for stages in labels(moto).values()) == 2

    def test_the_current_label_can_not_be_taken_away(self, client: Any, first: str) -> None:
        asked = {"client": client, "stage": CURRENT, "source": first, "target": None}
        assert code_of(move, **asked) == "InvalidParameterException"

    def test_a_move_to_where_the_label_is_changes_nothing(self, client: Any, first: str) -> None:
        move(client, CURRENT, first, first)
        move(client, CURRENT, None, first)
        assert labels(client) == {first: {CURRENT}}

    def test_versions_without_label_are_listed_only_on_request(self, client: Any, first: str) -> None:
        for text in ("two", "three"):
            client.put_secret_value(SecretId="s", SecretString=text)
        listed = client.list_secret_version_ids(SecretId="s")["Versions"]
        everything = client.list_secret_version_ids(SecretId="s", IncludeDeprecated=True)["Versions"]
        assert first not in labels(client)
        assert (len(listed), len(everything)) == (2, 3)
        assert value(client, VersionId=first) == "one"

    def test_moto_alone_shows_them_always(self, moto: Any, first: str) -> None:
        for text in ("two", "three"):
            moto.put_secret_value(SecretId="s", SecretString=text)
        assert labels(moto)[first] == set()

    def test_label_and_version_must_agree(self, client: Any, first: str) -> None:
        asked = {"SecretId": "s", "VersionId": first, "VersionStage": PENDING}
        assert code_of(client.get_secret_value, **asked) == "InvalidRequestException"
        missing = {"SecretId": "s", "VersionId": new_token(), "VersionStage": PENDING}
        assert code_of(client.get_secret_value, **missing) == "ResourceNotFoundException"
        assert code_of(client.get_secret_value, SecretId="s", VersionStage=PREVIOUS) == "ResourceNotFoundException"

    def test_every_refusal_is_http_400(self, client: Any) -> None:
        with pytest.raises(client.exceptions.ResourceNotFoundException) as refused:
            client.get_secret_value(SecretId="nothing")
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400

    def test_a_deleted_secret_is_neither_read_nor_changed_until_it_is_restored(self, client: Any, first: str) -> None:
        client.delete_secret(SecretId="s", RecoveryWindowInDays=7)
        asked = {"SecretId": "s", "SecretString": "two"}
        assert code_of(client.get_secret_value, SecretId="s") == "InvalidRequestException"
        assert code_of(client.put_secret_value, **asked) == "InvalidRequestException"
        assert code_of(client.rotate_secret, SecretId="s") == "InvalidRequestException"
        assert client.describe_secret(SecretId="s")["DeletedDate"]
        client.restore_secret(SecretId="s")
        assert value(client) == "one"

    def test_moto_alone_writes_to_a_deleted_secret(self, moto: Any, first: str) -> None:
        moto.delete_secret(SecretId="s", RecoveryWindowInDays=7)
        assert code_of(moto.put_secret_value, SecretId="s", SecretString="two", ClientRequestToken=new_token()) == (
            "no error"
        )


class TestBatch:
    def test_each_id_has_its_own_error(self, client: Any, first: str) -> None:
        client.create_secret(Name="empty")
        found = client.batch_get_secret_value(SecretIdList=["s", "empty", "nothing"])
        assert [each["Name"] for each in found["SecretValues"]] == ["s"]
        errors = {each["SecretId"]: each["ErrorCode"] for each in found["Errors"]}
        assert errors == dict.fromkeys(["empty", "nothing"], "ResourceNotFoundException")

    def test_moto_alone_fails_as_a_whole_when_one_has_no_value(self, moto: Any, first: str) -> None:
        moto.create_secret(Name="empty")
        assert code_of(moto.batch_get_secret_value, SecretIdList=["s", "empty"]) == "ResourceNotFoundException"


class TestRotation:
    def rotate(self, client: Any, **more: Any) -> str:
        return str(client.rotate_secret(SecretId="s", **more)["VersionId"])

    def test_without_a_function_it_is_refused(self, client: Any, first: str) -> None:
        assert code_of(client.rotate_secret, SecretId="s") == "InvalidRequestException"
        assert labels(client) == {first: {CURRENT}}

    def test_moto_alone_makes_a_version_and_promotes_it(self, moto: Any, first: str) -> None:
        moto.rotate_secret(SecretId="s")
        assert labels(moto)[first] == {PREVIOUS}

    def test_it_begins_with_a_pending_version_that_has_no_value(self, client: Any, first: str) -> None:
        token = self.rotate(client, RotationLambdaARN=LAMBDA)
        assert labels(client) == {first: {CURRENT}, token: {PENDING}}
        asked = {"SecretId": "s", "VersionId": token, "VersionStage": PENDING}
        assert code_of(client.get_secret_value, **asked) == "ResourceNotFoundException"
        described = client.describe_secret(SecretId="s")
        assert (described["RotationEnabled"], described["RotationLambdaARN"]) == (True, LAMBDA)

    def test_the_value_goes_into_that_version_once(self, client: Any, first: str) -> None:
        token = self.rotate(client, RotationLambdaARN=LAMBDA)
        assert put_pending(client, token, "two")["VersionStages"] == [PENDING]
        assert code_of(put_pending, client=client, token=token, text="three") == "ResourceExistsException"
        assert (value(client), value(client, VersionStage=PENDING)) == ("one", "two")

    def test_a_secret_without_a_value_is_not_made_current_by_it(self, client: Any) -> None:
        client.create_secret(Name="s")
        token = self.rotate(client, RotationLambdaARN=LAMBDA)
        assert labels(client) == {token: {PENDING}}

    def test_another_one_is_refused_while_it_is_unfinished(self, client: Any, first: str) -> None:
        token = self.rotate(client, RotationLambdaARN=LAMBDA)
        assert code_of(client.rotate_secret, SecretId="s") == "InvalidRequestException"
        assert self.rotate(client, ClientRequestToken=token) == token
        assert labels(client) == {first: {CURRENT}, token: {PENDING}}

    def test_another_one_may_begin_when_pending_and_current_are_one_version(self, client: Any, first: str) -> None:
        second = self.rotate(client, RotationLambdaARN=LAMBDA)
        put_pending(client, second, "two")
        move(client, CURRENT, first, second)
        third = self.rotate(client)
        assert labels(client) == {first: {PREVIOUS}, second: {CURRENT}, third: {PENDING}}

    def test_another_one_may_begin_when_the_pending_label_was_removed(self, client: Any, first: str) -> None:
        second = self.rotate(client, RotationLambdaARN=LAMBDA)
        move(client, PENDING, second, None)
        third = self.rotate(client)
        assert labels(client) == {first: {CURRENT}, third: {PENDING}}

    def test_the_token_of_another_version_is_refused(self, client: Any, first: str) -> None:
        asked = {"SecretId": "s", "ClientRequestToken": first, "RotationLambdaARN": LAMBDA}
        assert code_of(client.rotate_secret, **asked) == "ResourceExistsException"

    def test_a_failed_write_of_the_value_leaves_the_version_as_it_was(self, client: Any, first: str) -> None:
        token = self.rotate(client, RotationLambdaARN=LAMBDA)
        asked = {"SecretId": "s", "ClientRequestToken": token, "VersionStages": [PENDING]}
        assert code_of(client.put_secret_value, **asked) == "InvalidRequestException"
        assert labels(client) == {first: {CURRENT}, token: {PENDING}}


def test_other_services_are_moto_s(stand_in: StandIn) -> None:
    keys = stand_in.client("kms")
    try:
        assert keys.create_key()["KeyMetadata"]["Enabled"]
    finally:
        keys.close()


def test_each_region_has_its_own_secrets(stand_in: StandIn, client: Any) -> None:
    elsewhere = stand_in.client(region_name="eu-central-1")
    try:
        for each in (client, elsewhere):
            each.create_secret(Name="s", SecretString="one")
        token = new_token()
        put_pending(elsewhere, token, "two")
        assert len(labels(client)) == 1
        assert code_of(put_pending, client=elsewhere, token=token, text="three") == "ResourceExistsException"
    finally:
        elsewhere.close()


class TestReplication:
    @pytest.fixture
    def elsewhere(self, stand_in: StandIn) -> Iterator[Any]:
        made = stand_in.client(region_name="eu-central-1")
        yield made
        made.close()

    def test_a_replica_follows_a_rotation_and_is_not_written_to(self, client: Any, elsewhere: Any, first: str) -> None:
        client.replicate_secret_to_regions(SecretId="s", AddReplicaRegions=[{"Region": "eu-central-1"}])
        assert value(elsewhere) == "one"
        token = new_token()
        put_pending(client, token, "two")
        move(client, CURRENT, first, token)
        assert (value(elsewhere), value(elsewhere, VersionStage=PREVIOUS)) == ("two", "one")
        assert code_of(elsewhere.put_secret_value, SecretId="s", SecretString="x") == "InvalidParameterException"

    def test_a_replica_that_was_cut_off_is_a_secret_of_its_own(self, client: Any, elsewhere: Any, first: str) -> None:
        client.replicate_secret_to_regions(SecretId="s", AddReplicaRegions=[{"Region": "eu-central-1"}])
        arn = elsewhere.describe_secret(SecretId="s")["ARN"]
        assert elsewhere.stop_replication_to_replica(SecretId="s")["ARN"] == arn
        elsewhere.put_secret_value(SecretId="s", SecretString="rescued")
        assert (value(client), value(elsewhere)) == ("one", "rescued")
        assert elsewhere.get_secret_value(SecretId=arn)["SecretString"] == "rescued"
        assert client.describe_secret(SecretId="s").get("ReplicationStatus", []) == []
        assert code_of(elsewhere.stop_replication_to_replica, SecretId="s") == "InvalidRequestException"
        assert code_of(client.stop_replication_to_replica, SecretId="nothing") == "ResourceNotFoundException"

    def test_moto_alone_cannot_cut_one_off(self, stand_in: StandIn, moto: Any, first: str) -> None:
        moto.replicate_secret_to_regions(SecretId="s", AddReplicaRegions=[{"Region": "eu-central-1"}])
        alone = stand_in.client(region_name="eu-central-1", endpoint_url=stand_in.moto_url)
        assert code_of(alone.stop_replication_to_replica, SecretId="s") not in ("no error", "InvalidRequestException")
        alone.close()
