"""References in place of secrets: `TEGATA_MASTER_KEY=awssm:tegata-prod-master-key` is read when the process starts.

Whatever setting holds a secret may hold a reference (`SecretStr` in the model); nothing here knows their names. Region,
endpoint and credentials of AWS are those of boto3's own environment (`AWS_REGION`,
`AWS_ENDPOINT_URL_SECRETS_MANAGER`, …). Nothing of it is loaded where no reference asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tegata_credentials.errors import SecretError
    from tegata_credentials.sources import SecretSource
    from tegata_credentials.versions import SecretVersion

_SCHEMES = ("awssm:", "file:", "env:")

_CURES = {
    "not_found": "correct the reference, or put the secret there",
    "access_denied": "allow this process to read it (on AWS: secretsmanager:GetSecretValue, and kms:Decrypt for a key "
    "of your own)",
    "malformed": "correct what is kept there",
    "throttled": "start again in a while",
    "unavailable": "start again when the store answers",
}
# Another attempt may help against these.
_PASSING = ("throttled", "unavailable")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a setting has no value; `is_passing`: nothing has to be corrected, perhaps."""

    sentence: str
    is_passing: bool


def is_reference(text: str) -> bool:
    """Whether a setting's text says where its value is. No URL of a database and no key begins so."""
    return text.startswith(_SCHEMES)


def reference_problem(variable: str, text: str) -> str | None:
    """Return why `text` cannot name the secret of a login, which is a whole JSON object; or None."""
    from tegata_credentials.sources.references import BadReference, Reference

    try:
        reference = Reference.parse(text)
    except BadReference as error:
        return f"{variable} is no reference: {error}"
    if reference.key is not None:
        return f"{variable} names a key: the whole JSON object is needed, with username and password; leave #… out"
    return None


def resolve(
    references: Mapping[str, str], environ: Mapping[str, str], source: SecretSource | None = None
) -> tuple[dict[str, str], list[Problem]]:
    """Return the values behind references, by variable, and what is wrong with the others.

    Every store is asked once for all. `env:` means `environ`. A problem names variable, reference and cure.
    """
    if not references:
        return {}, []
    from tegata_credentials.sources.environment import Environment
    from tegata_credentials.sources.references import BadReference, Reference, ReferencedSecrets

    problems, good = [], {}
    for variable, text in references.items():
        try:
            Reference.parse(text)
        except BadReference as error:
            problems.append(Problem(f"{variable}: {error}", is_passing=False))
        else:
            good[variable] = text
    asked = source or ReferencedSecrets({"env": Environment(environ)})
    try:
        found = asked.fetch_many(list(good.values()))
    finally:
        if source is None:
            asked.close()
    values = {}
    for variable, text in good.items():
        value = _value(variable, text, found[text])
        if isinstance(value, Problem):
            problems.append(value)
        else:
            values[variable] = value
    return values, problems


def problem_of(variable: str, reference: str, error: SecretError) -> Problem:
    """Say of a setting what its store says of the secret behind it, and the cure."""
    if "is not installed" in error.hint:  # of the kit, which says what to install
        return Problem(f"{variable}={reference} cannot be read: {error.hint}", is_passing=False)
    hint = f" ({error.hint})" if error.hint else ""
    words = error.reason.replace("_", " ")
    return Problem(
        f"{variable}={reference}: {words}{hint}; {_CURES[error.reason]}", is_passing=error.reason in _PASSING
    )


def _value(variable: str, reference: str, found: SecretVersion | SecretError) -> str | Problem:
    from tegata_credentials.errors import SecretError

    if isinstance(found, SecretError):
        return problem_of(variable, reference, found)
    text = found.text.strip()
    if not text:
        return Problem(f"{variable}={reference} leads to an empty value; write it there", is_passing=False)
    if text.startswith("{"):
        cure = "let a file hold the value alone" if reference.startswith("file:") else f"name its key: {reference}#KEY"
        return Problem(f"{variable}={reference} leads to a JSON object; {cure}", is_passing=False)
    return str(text)
