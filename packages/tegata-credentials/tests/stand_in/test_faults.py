"""Each fault as an SDK of somebody else's sees it, over HTTP; whether the call was done is read past the faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from tegata_credentials.testing.secrets_manager import (
    ACCESS_DENIED,
    CUT_BEFORE,
    DECRYPTION_FAILED,
    DUPLICATED,
    INTERNAL_ERROR,
    LOST_RESPONSE,
    THROTTLED,
    UNAVAILABLE,
    Call,
    Delay,
    Meanwhile,
    PartlyRefused,
    Refusal,
    Silence,
    StandIn,
    new_token,
)


@pytest.fixture
def secret(moto: Any) -> str:
    moto.create_secret(Name="s", SecretString="one")
    return "s"


@pytest.fixture
def patient(stand_in: StandIn) -> Iterator[Any]:
    """A client that tries four times in all, as the seed asks."""
    made = stand_in.client(config=Config(retries={"mode": "standard", "total_max_attempts": 4}))
    yield made
    made.close()


@pytest.fixture
def hasty(stand_in: StandIn) -> Iterator[Any]:
    """A client that tries once and waits a fifth of a second."""
    made = stand_in.client(config=Config(retries={"total_max_attempts": 1}, read_timeout=0.2))
    yield made
    made.close()


def put(client: Any, text: str = "two", token: str | None = None) -> Any:
    return client.put_secret_value(SecretId="s", SecretString=text, ClientRequestToken=token or new_token())


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what a thread of the proxy is about to do."""
    latest = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < latest, "it has not happened"
        time.sleep(0.01)


def versions(moto: Any) -> int:
    return len(moto.list_secret_version_ids(SecretId="s")["Versions"])


class TestRefusals:
    @pytest.mark.parametrize("refusal", [THROTTLED, INTERNAL_ERROR, UNAVAILABLE, ACCESS_DENIED, DECRYPTION_FAILED])
    def test_the_sdk_sees_the_error_by_its_name(
        self, stand_in: StandIn, client: Any, moto: Any, secret: str, refusal: Refusal
    ) -> None:
        stand_in.faults.next("PutSecretValue", refusal)
        with pytest.raises(ClientError) as refused:
            put(client)
        assert refused.value.response["Error"]["Code"] == refusal.code
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == refusal.status
        assert versions(moto) == 1
        assert put(client)["ResponseMetadata"]["HTTPStatusCode"] == 200

    def test_an_sdk_tries_again_when_throttled_and_each_try_is_counted(
        self, stand_in: StandIn, patient: Any, secret: str
    ) -> None:
        stand_in.faults.next("GetSecretValue", THROTTLED, times=2)
        assert patient.get_secret_value(SecretId=secret)["SecretString"] == "one"
        assert [call.fault for call in stand_in.calls] == ["throttled", "throttled", ""]
        assert stand_in.faults.remaining == 0

    def test_a_batch_may_be_refused_in_part(self, stand_in: StandIn, client: Any, moto: Any, secret: str) -> None:
        moto.create_secret(Name="t", SecretString="two")
        stand_in.faults.next("BatchGetSecretValue", PartlyRefused({"s": ACCESS_DENIED}))
        found = client.batch_get_secret_value(SecretIdList=["s", "t", "nothing"])
        assert [each["Name"] for each in found["SecretValues"]] == ["t"]
        errors = {each["SecretId"]: each["ErrorCode"] for each in found["Errors"]}
        assert errors == {"s": "AccessDeniedException", "nothing": "ResourceNotFoundException"}

    def test_or_for_all_its_ids(self, stand_in: StandIn, client: Any, secret: str) -> None:
        stand_in.faults.next("BatchGetSecretValue", PartlyRefused({"s": THROTTLED}))
        found = client.batch_get_secret_value(SecretIdList=["s"])
        assert (found["SecretValues"], len(found["Errors"])) == ([], 1)


class TestConnections:
    def test_a_lost_response_comes_after_the_change(
        self, stand_in: StandIn, client: Any, moto: Any, secret: str
    ) -> None:
        stand_in.faults.next("PutSecretValue", LOST_RESPONSE)
        with pytest.raises(ConnectionClosedError):
            put(client)
        assert versions(moto) == 2

    def test_a_cut_before_comes_before_it(self, stand_in: StandIn, client: Any, moto: Any, secret: str) -> None:
        stand_in.faults.next("PutSecretValue", CUT_BEFORE)
        with pytest.raises(ConnectionClosedError):
            put(client)
        assert versions(moto) == 1

    def test_an_sdk_that_tries_again_repeats_its_token(
        self, stand_in: StandIn, patient: Any, moto: Any, secret: str
    ) -> None:
        stand_in.faults.next("PutSecretValue", LOST_RESPONSE)
        put(patient)
        assert (versions(moto), stand_in.calls.count("PutSecretValue")) == (2, 2)

    @pytest.mark.parametrize(("is_applied", "count"), [(False, 1), (True, 2)])
    def test_silence_lasts_longer_than_the_client_waits(
        self, stand_in: StandIn, hasty: Any, moto: Any, secret: str, is_applied: bool, count: int
    ) -> None:
        stand_in.faults.next("PutSecretValue", Silence(is_applied=is_applied))
        with pytest.raises(ReadTimeoutError):
            put(hasty)
        # The client has stopped to wait, perhaps before the call has arrived.
        until(lambda: stand_in.calls.count("PutSecretValue") == 1 and versions(moto) == count)

    def test_a_silence_that_ends_cuts_the_connection(self, stand_in: StandIn, client: Any, secret: str) -> None:
        stand_in.faults.next("GetSecretValue", Silence(0.01))
        with pytest.raises(ConnectionClosedError):
            client.get_secret_value(SecretId=secret)

    def test_a_delay_ends_in_an_answer(self, stand_in: StandIn, client: Any, secret: str) -> None:
        stand_in.faults.next("GetSecretValue", Delay(0.01))
        assert client.get_secret_value(SecretId=secret)["SecretString"] == "one"

    def test_a_duplicate_is_answered_as_the_second_of_two(
        self, stand_in: StandIn, client: Any, moto: Any, secret: str
    ) -> None:
        token = new_token()
        stand_in.faults.next("PutSecretValue", DUPLICATED)
        assert put(client, token=token)["VersionId"] == token
        stand_in.faults.next("DeleteSecret", DUPLICATED)
        with pytest.raises(ClientError) as refused:
            client.delete_secret(SecretId="s")
        assert refused.value.response["Error"]["Code"] == "InvalidRequestException"
        assert versions(moto) == 2

    def test_ending_the_stand_in_ends_a_silence(self) -> None:
        failed: list[BaseException] = []

        def read(client: Any) -> None:
            try:
                client.get_secret_value(SecretId="s")
            except ConnectionClosedError as error:
                failed.append(error)

        with StandIn() as own:
            own.faults.always("*", Silence(60))
            client = own.client(config=Config(retries={"total_max_attempts": 1}))
            waiting = threading.Thread(target=read, args=(client,))
            waiting.start()
            while not own.calls.count():
                time.sleep(0.01)
        waiting.join(60)
        client.close()
        assert len(failed) == 1

    def test_a_delayed_call_does_not_reach_the_next_test(
        self, stand_in: StandIn, client: Any, hasty: Any, moto: Any, secret: str
    ) -> None:
        stand_in.faults.next("PutSecretValue", Delay(30))
        with pytest.raises(ReadTimeoutError):
            put(hasty)
        until(lambda: stand_in.calls.count("PutSecretValue") == 1)
        stand_in.reset()
        moto.create_secret(Name="s", SecretString="one")
        assert client.get_secret_value(SecretId="s")["SecretString"] == "one"
        assert versions(moto) == 1


class TestMeanwhile:
    def test_something_else_happens_between_the_change_and_the_answer(
        self, stand_in: StandIn, client: Any, moto: Any, secret: str
    ) -> None:
        seen: list[int] = []
        stand_in.faults.next("PutSecretValue", Meanwhile(lambda call: seen.append(versions(moto)), is_after=True))
        stand_in.faults.next("PutSecretValue", Meanwhile(lambda call: seen.append(versions(moto))))
        put(client)
        put(client, "three")
        assert seen == [2, 2]

    def test_it_is_told_of_the_call(self, stand_in: StandIn, client: Any, secret: str) -> None:
        told: list[Call] = []
        stand_in.faults.next("GetSecretValue", Meanwhile(told.append))
        client.get_secret_value(SecretId=secret)
        assert told == [Call("GetSecretValue", ("s",), "AKIASTANDIN")]

    def test_it_cuts_the_connection_by_failing(self, stand_in: StandIn, client: Any, secret: str) -> None:
        def fail(call: Call) -> None:
            raise RuntimeError("crash")

        stand_in.faults.next("GetSecretValue", Meanwhile(fail))
        with pytest.raises(ConnectionClosedError):
            client.get_secret_value(SecretId=secret)


class TestThePlan:
    def test_faults_of_next_follow_one_another(self, stand_in: StandIn, client: Any, secret: str) -> None:
        stand_in.faults.next("GetSecretValue", THROTTLED)
        stand_in.faults.next("GetSecretValue", INTERNAL_ERROR)
        codes = []
        for _ in range(2):
            with pytest.raises(ClientError) as refused:
                client.get_secret_value(SecretId=secret)
            codes.append(refused.value.response["Error"]["Code"])
        assert codes == ["ThrottlingException", "InternalServiceError"]
        assert client.get_secret_value(SecretId=secret)

    def test_the_second_call_fails_alone(self, stand_in: StandIn, client: Any, secret: str) -> None:
        stand_in.faults.at("PutSecretValue", 2, LOST_RESPONSE)
        put(client, "two")
        client.get_secret_value(SecretId=secret)
        with pytest.raises(ConnectionClosedError):
            put(client, "three")
        put(client, "four")
        assert [call.fault for call in stand_in.calls] == ["", "", "lost_response", ""]

    def test_one_secret_by_name_or_arn_and_one_principal_can_be_meant(
        self, stand_in: StandIn, client: Any, moto: Any, secret: str
    ) -> None:
        other = moto.create_secret(Name="t", SecretString="two")["ARN"]
        stand_in.faults.always("GetSecretValue", ACCESS_DENIED, secret="t", principal="AKIASTANDIN")
        assert client.get_secret_value(SecretId=secret)
        for name in ("t", other):
            with pytest.raises(ClientError):
                client.get_secret_value(SecretId=name)
        somebody = stand_in.client(principal="AKIASOMEBODY")
        assert somebody.get_secret_value(SecretId="t")
        somebody.close()
        assert stand_in.calls.count(secret="t") == 3
        assert stand_in.calls.count(principal="AKIASOMEBODY") == 1

    def test_many_clients_at_once_are_counted_once_each(self, stand_in: StandIn, secret: str) -> None:
        stand_in.faults.next("GetSecretValue", THROTTLED, times=10)
        client = stand_in.client(config=Config(retries={"total_max_attempts": 1}, max_pool_connections=16))
        refused: list[str] = []

        def read() -> None:
            try:
                client.get_secret_value(SecretId=secret)
            except ClientError as error:
                refused.append(error.response["Error"]["Code"])

        threads = [threading.Thread(target=read) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        client.close()
        assert (len(refused), stand_in.calls.count("GetSecretValue")) == (10, 40)
