"""Where the labels of a secret's versions go. Pure. AWS Secrets Manager API Reference, UpdateSecretVersionStage."""

from __future__ import annotations

from collections.abc import Mapping

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"

Labels = dict[str, frozenset[str]]


class Refused(Exception):
    """The service says no: `code` is the error's name, the text its message.

    >>> Refused("InvalidParameterException", "no such version").status
    400
    """

    def __init__(self, code: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def put(before: Mapping[str, frozenset[str]], token: str, stages: frozenset[str]) -> Labels:
    """Return the labels after version `token` was written with `stages`. The first version is always current.

    >>> after = put({"a": frozenset({"AWSCURRENT"})}, "b", frozenset({"AWSCURRENT"}))
    >>> sorted(after["a"]), sorted(after["b"])
    (['AWSPREVIOUS'], ['AWSCURRENT'])
    """
    labels = {**before}
    labels.setdefault(token, frozenset())
    if _holder(labels, CURRENT) is None:
        stages |= {CURRENT}
    for stage in sorted(stages):
        holder = _holder(labels, stage)
        if holder != token:
            labels = _shift(labels, stage, holder, token)
    return labels


def moved(before: Mapping[str, frozenset[str]], stage: str, remove_from: str | None, move_to: str | None) -> Labels:
    """Return the labels after `stage` was moved. Raises `Refused` unless it is taken from the version that has it."""
    labels, holder = {**before}, _holder(before, stage)
    for version in (remove_from, move_to):
        if version is not None and version not in labels:
            raise _refuse(f"Not a valid version: {version}")
    if remove_from is None and holder not in (None, move_to):
        raise _refuse(
            f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version "
            f"{holder}, so you must explicitly reference that version in RemoveFromVersionId."
        )
    if remove_from is not None and remove_from != holder:
        raise _refuse(
            f"The parameter RemoveFromVersionId is not valid. Staging label {stage} is currently attached to version "
            f"{holder}, not to version {remove_from}."
        )
    if move_to is None and stage == CURRENT:
        raise _refuse(f"You can only move staging label {CURRENT} to a different secret version.")
    return labels if holder == move_to else _shift(labels, stage, holder, move_to)


def _shift(labels: Labels, stage: str, source: str | None, target: str | None) -> Labels:
    """Move one label. AWSPREVIOUS follows AWSCURRENT: to the version that had it."""
    after = {version: stages - {stage} for version, stages in labels.items()}
    if stage == CURRENT and source is not None:
        after = {version: stages - {PREVIOUS} for version, stages in after.items()}
        after[source] |= {PREVIOUS}
    if target is not None:
        after[target] |= {stage}
    return after


def _holder(labels: Mapping[str, frozenset[str]], stage: str) -> str | None:
    return next((version for version, stages in labels.items() if stage in stages), None)


def _refuse(message: str) -> Refused:
    return Refused("InvalidParameterException", message)
