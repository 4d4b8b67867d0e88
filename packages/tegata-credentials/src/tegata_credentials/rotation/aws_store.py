"""Versions in AWS Secrets Manager, through boto3: what a rotation function needs of it.

AWS Secrets Manager API Reference: `DescribeSecret`, `GetSecretValue`, `PutSecretValue`, `UpdateSecretVersionStage`. The
identity needs these four on the secret, `secretsmanager:GetSecretValue` on the administrator's, and `kms:Decrypt` and
`kms:GenerateDataKey` on a key of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any

from tegata_credentials.errors import SecretError
from tegata_credentials.rotation.errors import RotationBusy, RotationRefused
from tegata_credentials.rotation.ports import Labels
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager, version_of
from tegata_credentials.sources.one_by_one import Outcome, attempt, or_raise
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, PENDING, SecretVersion


class _Answer(Enum):
    DONE = "done"
    OTHER_VALUE = "this token has another value already"
    OTHER_LABELS = "the labels are not where they were believed to be"


class AwsVersions(AwsSecretsManager):
    """Reads, writes and labels versions; a source of secrets as well. Arguments and limits as `AwsSecretsManager`.

    Each call is tried up to four times. If the answer to a change is lost all the same, the store is asked what is
    true now: a change that has been made is a success.

    Example:

        store = AwsVersions(region="eu-west-1")
        store.labels("shop-prod-secret-database").unfinished

    >>> AwsVersions(region="eu-west-1")
    AwsVersions(region='eu-west-1')
    """

    def labels(self, secret: str) -> Labels:
        """Return the versions that carry a label, and the labels."""
        answer = self._asked(secret, lambda client: client.describe_secret(SecretId=secret))
        versions = {
            str(version): frozenset(map(str, stages))
            for version, stages in (answer.get("VersionIdsToStages") or {}).items()
        }
        return Labels(str(answer["ARN"]), str(answer["Name"]), versions)

    def read(self, secret: str, *, stage: str | None = None, version: str | None = None) -> SecretVersion:
        """Return one version, by label or by name or by both; AWSCURRENT if neither is given."""
        named = {"VersionStage": stage, "VersionId": version}
        which = {name: value for name, value in named.items() if value is not None}
        return or_raise(self._version(secret, which))

    def put_pending(self, secret: str, token: str, text: HiddenText) -> None:
        """Keep `text` as version `token` with AWSPENDING. The same again changes nothing."""
        outcome = self._ask(secret, lambda client: _put(client, secret, token, text))
        if outcome is _Answer.OTHER_VALUE:
            raise RotationRefused(_Answer.OTHER_VALUE.value)
        if isinstance(outcome, SecretError) and not self._is_kept(secret, token, text):
            raise outcome

    def promote(self, secret: str, token: str, *, replacing: str) -> None:
        """Move AWSCURRENT from `replacing` to `token`; Secrets Manager moves AWSPREVIOUS by itself.

        AWSPENDING leaves `replacing` first. Left on a version that stops being current, as in a rollback, it would say
        that a rotation is unfinished: Secrets Manager would refuse to begin another one, and try to end that one again.
        From `token` the move itself takes it; doing that by a call of its own can look like a rotation that has failed
        (User Guide, "Lambda rotation functions").
        """
        if self.labels(secret).holder(PENDING) == replacing:
            self._asked(secret, lambda client: _take_pending(client, secret, replacing))
        outcome = self._ask(secret, lambda client: _promote(client, secret, token, replacing))
        if outcome is _Answer.DONE:
            return
        # A call that was repeated after a lost answer finds the label moved: by itself, or by somebody else.
        current = self.labels(secret).holder(CURRENT)
        if current == token:
            return
        if isinstance(outcome, SecretError) and current == replacing:
            raise outcome
        raise RotationBusy("another version has become current meanwhile")

    def made_at(self, secret: str, version: str) -> float | None:
        """Return when a version was made, in seconds since the epoch: no later than it became current.

        Needs `secretsmanager:ListSecretVersionIds`, which nothing else does: whoever rotates by a clock of its own.
        """
        answer = self._asked(secret, lambda client: client.list_secret_version_ids(SecretId=secret))
        for each in answer.get("Versions") or ():
            if each.get("VersionId") == version and each.get("CreatedDate") is not None:
                return float(each["CreatedDate"].timestamp())
        return None

    def _is_kept(self, secret: str, token: str, text: HiddenText) -> bool:
        kept = self._version(secret, {"VersionId": token})
        return isinstance(kept, SecretVersion) and kept.text == text

    def _version(self, secret: str, which: Mapping[str, str]) -> Outcome:
        """Return what is kept, or what is wrong: frames that hold an answer raise nothing."""
        answer = self._ask(secret, lambda client: client.get_secret_value(SecretId=secret, **which))
        return answer if isinstance(answer, SecretError) else attempt(partial(version_of, answer), secret)

    def _asked(self, secret: str, call: Callable[[Any], Any]) -> Any:
        answer = self._ask(secret, call)
        if isinstance(answer, SecretError):
            raise answer
        return answer


def _put(client: Any, secret: str, token: str, text: HiddenText) -> _Answer:
    from botocore.exceptions import ClientError

    try:
        client.put_secret_value(
            SecretId=secret, ClientRequestToken=token, SecretString=str(text), VersionStages=[PENDING]
        )
    except ClientError as error:
        if _code_of(error) != "ResourceExistsException":
            raise
        return _Answer.OTHER_VALUE
    return _Answer.DONE


def _promote(client: Any, secret: str, token: str, replacing: str) -> _Answer:
    from botocore.exceptions import ClientError

    try:
        client.update_secret_version_stage(
            SecretId=secret, VersionStage=CURRENT, MoveToVersionId=token, RemoveFromVersionId=replacing
        )
    except ClientError as error:
        if _code_of(error) not in ("InvalidParameterException", "InvalidRequestException"):
            raise
        return _Answer.OTHER_LABELS
    return _Answer.DONE


def _take_pending(client: Any, secret: str, version: str) -> _Answer:
    from botocore.exceptions import ClientError

    try:
        client.update_secret_version_stage(SecretId=secret, VersionStage=PENDING, RemoveFromVersionId=version)
    except ClientError as error:
        if _code_of(error) not in ("InvalidParameterException", "InvalidRequestException"):
            raise
        return _Answer.OTHER_LABELS
    return _Answer.DONE


def _code_of(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
