"""Which secrets are rotated, as documents: `kind: RotatedSecret`, one for each, in the file that
TEGATA_ROTATION_FILE names.

`spec` is a plan as the kit's rotation function takes it, except that secrets are references (`awssm:NAME`,
`file:/path`): one document says where a secret is kept and how it is rotated, and never holds a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tegata.flows.admin.problems import InvalidDocuments, Problem
from tegata.flows.admin.yaml_reader import MAX_BYTES, RawDocument, read_documents
from tegata_credentials.rotation.plans import AlternatingUsersPlan, Plan, SingleUserPlan
from tegata_credentials.rotation.strategies import NO_REST
from tegata_credentials.sources.references import BadReference, Reference

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
STORES = ("awssm", "file")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class RotatedName(_Strict):
    """`metadata` of a RotatedSecret."""

    name: str = Field(pattern=NAME_PATTERN, description="What `tegata secrets` calls it.")


class RotatedSecretDocument(_Strict):
    """A secret that is rotated."""

    apiVersion: Literal["tegata.dev/v1"]
    kind: Literal["RotatedSecret"]
    metadata: RotatedName
    spec: Plan


@dataclass(frozen=True, slots=True)
class RotatedSecret:
    """A secret, where it is kept, and how it is rotated; unless `by_age`, only when somebody says so."""

    name: str
    plan: Plan
    reference: Reference
    by_age: bool = True


def read_rotated(path: Path) -> tuple[RotatedSecret, ...]:
    """Read the file. Raises `InvalidDocuments` with every fault, `OSError`."""
    with path.open("rb") as opened:
        raw = opened.read(MAX_BYTES + 1)
    return parse_rotated(raw, str(path))


def parse_rotated(text: str | bytes, source: str) -> tuple[RotatedSecret, ...]:
    """Read documents. Raises `InvalidDocuments` with every fault."""
    found: list[RotatedSecret] = []
    problems: list[Problem] = []
    for raw in read_documents(text, source):
        try:
            found.append(_rotated(raw))
        except InvalidDocuments as error:
            problems.extend(error.problems)
    problems.extend(_repeated(found, source))
    if problems:
        raise InvalidDocuments(problems)
    return tuple(found)


_WORDS = {"missing": "is missing", "extra_forbidden": "is not a field of this kind; is it misspelt?"}
"""What is said of the commonest faults, in the words of the other kinds of documents."""


def check_reference(text: str) -> Reference:
    """Return where a secret is that can be rotated. Raises `BadReference`."""
    reference = Reference.parse(text)
    if reference.scheme not in STORES or reference.key is not None:
        raise BadReference("a secret can be rotated as a whole at awssm:NAME or file:/absolute/directory/NAME only")
    return reference


def _rotated(raw: RawDocument) -> RotatedSecret:
    try:
        document = RotatedSecretDocument.model_validate(raw.value)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False)
        raise InvalidDocuments(
            _fault(raw, _path(each["loc"]), _WORDS.get(each["type"], each["msg"])) for each in faults
        ) from None
    problems = [_fault(raw, ("spec", name), str(error)) for name, error in _bad_references(document.spec)]
    if problems:
        raise InvalidDocuments(problems)
    reference = check_reference(document.spec.secret)
    if reference.scheme == "awssm" and isinstance(document.spec, AlternatingUsersPlan) and document.spec.rest_seconds:
        raise InvalidDocuments([_fault(raw, ("spec", "rest_seconds"), NO_REST)])
    return RotatedSecret(document.metadata.name, document.spec, reference)


def _bad_references(plan: Plan) -> Iterator[tuple[str, BadReference]]:
    try:
        check_reference(plan.secret)
    except BadReference as error:
        yield "secret", error
    if isinstance(plan, AlternatingUsersPlan | SingleUserPlan) and plan.administrator is not None:
        try:
            Reference.parse(plan.administrator)
        except BadReference as error:
            yield "administrator", error


def _path(location: Sequence[str | int]) -> tuple[str | int, ...]:
    """Leave out the word for the strategy that the model puts between `spec` and a field of it."""
    return (location[0], *location[2:]) if len(location) > 2 and location[0] == "spec" else tuple(location)


def _fault(raw: RawDocument, path: tuple[str | int, ...], message: str) -> Problem:
    metadata: Any = raw.value.get("metadata") if isinstance(raw.value, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return Problem(raw.source, raw.line_of(path), f"RotatedSecret {name or ''}".strip(), path, message)


def _repeated(found: Sequence[RotatedSecret], source: str) -> Iterator[Problem]:
    for number, each in enumerate(found):
        for earlier in found[:number]:
            if each.name == earlier.name:
                yield Problem(source, None, f"RotatedSecret {each.name}", ("metadata", "name"), "is used twice")
            elif each.reference == earlier.reference:
                yield Problem(
                    source, None, f"RotatedSecret {each.name}", ("spec", "secret"), f"is that of {earlier.name} as well"
                )
