"""Names for secrets wherever they are kept: `awssm:NAME#key`, `file:/path`, `env:NAME`, and stores of your own.

A setting or a document that holds a reference holds no secret. What is not a reference may be one by mistake, so no
error repeats a text that does not begin with a known scheme.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tegata_credentials.errors import CredentialError, SecretError, SecretMalformed, SecretNotFound
from tegata_credentials.observer import CountsRequests
from tegata_credentials.sources import SecretSource
from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager
from tegata_credentials.sources.environment import Environment
from tegata_credentials.sources.files import Files
from tegata_credentials.sources.one_by_one import Outcome, attempt, or_raise
from tegata_credentials.sources.plain_text import check_text
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, SecretVersion

_NAME = r"[A-Za-z0-9/_+=.@!-]{1,512}"
_RULES: Mapping[str, tuple[re.Pattern[str], str]] = {
    "awssm": (
        re.compile(rf"(?:{_NAME}|arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{{12}}:secret:{_NAME})", re.ASCII),
        "awssm:NAME, awssm:ARN or awssm:NAME#KEY",
    ),
    "file": (re.compile(r"/[^\0\n]{1,1000}"), "file:/absolute/path"),
    "env": (re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII), "env:NAME or env:NAME#KEY"),
}
_FORMS = ", ".join(form for _, form in _RULES.values())


class BadReference(CredentialError):
    """This is no reference to a secret. The message holds the forms that are, and nothing of what was given.

    >>> try:
    ...     Reference.parse("hunter2")
    ... except BadReference as error:
    ...     "hunter2" in str(error)
    False
    """


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is: the scheme names the store, the name is the store's own, `key` is one of its JSON object.

    >>> Reference.parse("awssm:shop-prod-secret-database#password")
    Reference(scheme='awssm', name='shop-prod-secret-database', key='password')
    >>> Reference.parse("awssm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-AbCdEf").name[:12]
    'arn:aws:secr'
    >>> str(Reference.parse("file:/run/secrets/api#1"))  # a path may hold the sign
    'file:/run/secrets/api#1'
    """

    scheme: str
    name: str
    key: str | None = None

    @classmethod
    def parse(cls, text: str, *, schemes: Sequence[str] = tuple(_RULES)) -> Reference:
        """Read a reference to one of these `schemes`. Raises `BadReference`."""
        scheme, colon, rest = text.partition(":")
        if not colon or scheme not in schemes:
            own = "".join(f", {name}:…" for name in schemes if name not in _RULES)
            raise BadReference(f"this is not a reference that is understood here: write {_FORMS}{own}")
        name, mark, key = (rest, "", "") if scheme == "file" else rest.partition("#")
        pattern, form = _RULES.get(scheme, (re.compile(r"[^\0\n]{1,1000}"), f"{scheme}:NAME or {scheme}:NAME#KEY"))
        if not pattern.fullmatch(name) or (mark and not (key.isprintable() and 0 < len(key) <= 200)):
            raise BadReference(f"this reference of the scheme {scheme} is not complete or not valid: write {form}")
        return cls(scheme, name, key if mark else None)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}" + ("" if self.key is None else f"#{self.key}")


class ReferencedSecrets:
    """One source over many stores: a secret's name is a reference, and its scheme says who is asked.

    `sources` adds stores to the usual three (`awssm`, `file`, `env`) or takes their place:

        ReferencedSecrets({"vault": MyVault(), "awssm": AwsSecretsManager(region="eu-west-1")})

    Nothing of AWS is loaded before the first secret of its scheme is read.

    >>> environ = {"API_KEY": "k-123", "MAIL": '{"user": "shop", "port": 587}'}
    >>> secrets = ReferencedSecrets({"env": Environment(environ)})
    >>> secrets.resolve("env:API_KEY") == "k-123"
    True
    >>> secrets.resolve("env:MAIL#port") == "587"
    True
    >>> secrets.resolve("k-123")
    Traceback (most recent call last):
        ...
    tegata_credentials.sources.references.BadReference: this is not a reference that is understood here: write \
awssm:NAME, awssm:ARN or awssm:NAME#KEY, file:/absolute/path, env:NAME or env:NAME#KEY
    """

    scheme = "reference"

    def __init__(self, sources: Mapping[str, SecretSource] | None = None) -> None:
        given = dict(sources or {})
        usual: dict[str, SecretSource] = {}
        for source in (AwsSecretsManager, Files, Environment):
            if source.scheme not in given:
                usual[source.scheme] = source()
        self._sources = {**usual, **given}

    def __repr__(self) -> str:
        return f"ReferencedSecrets({', '.join(sorted(self._sources))})"

    @property
    def schemes(self) -> tuple[str, ...]:
        """The schemes that are understood."""
        return tuple(self._sources)

    def parse(self, text: str) -> Reference:
        """Read a reference to one of these stores. Raises `BadReference`."""
        return Reference.parse(text, schemes=self.schemes)

    def parse_name(self, text: str) -> Reference:
        """Read a reference, or what people call a secret: its name or ARN in AWS Secrets Manager.

        >>> str(ReferencedSecrets().parse_name("shop-prod-secret-jwt"))
        'awssm:shop-prod-secret-jwt'
        """
        scheme, colon, _ = text.partition(":")
        return self.parse(text if colon and scheme in self._sources else f"awssm:{text}")

    def resolve(self, text: str) -> HiddenText:
        """Return the value that the reference leads to. Raises `BadReference`, `SecretError`."""
        return self.fetch(text).text

    def fetch(self, secret: str, *, stage: str = CURRENT) -> SecretVersion:
        """Read the secret that the reference leads to. Raises `BadReference`, `SecretError`."""
        return self.read(self.parse(secret), stage=stage)

    def read(self, reference: Reference, *, stage: str = CURRENT) -> SecretVersion:
        """Read what this leads to; unlike in a text, a file's may have a key as well. Raises `SecretError`."""
        outcome = attempt(lambda name: self._sources[reference.scheme].fetch(name, stage=stage), reference.name)
        return or_raise(_pick(reference, outcome))

    def fetch_many(self, secrets: Sequence[str]) -> Mapping[str, SecretVersion | SecretError]:
        """Read all; each store is asked once for what is kept there, also if several references differ in the key.

        What is not a reference is an error of its own under that name; nothing else fails with it.
        """
        found: dict[str, Outcome] = {}
        references: dict[str, Reference] = {}
        for text in dict.fromkeys(secrets):
            try:
                references[text] = self.parse(text)
            except BadReference as error:
                found[text] = SecretNotFound("(not a reference)", str(error))
        by_scheme: dict[str, list[str]] = {}
        for reference in references.values():
            by_scheme.setdefault(reference.scheme, []).append(reference.name)
        read = {scheme: self._sources[scheme].fetch_many(names) for scheme, names in by_scheme.items()}
        for text, reference in references.items():
            found[text] = _pick(reference, read[reference.scheme][reference.name])
        return {text: found[text] for text in dict.fromkeys(secrets)}

    def take_requests(self) -> int:
        """Return how many requests this thread has sent to the stores that count them."""
        return sum(source.take_requests() for source in self._sources.values() if isinstance(source, CountsRequests))

    def close(self) -> None:
        """Close all stores."""
        for source in self._sources.values():
            source.close()


def _pick(reference: Reference, outcome: Outcome) -> Outcome:
    """Return what was read under the name of the reference, reduced to its key."""
    named = str(reference)
    if isinstance(outcome, SecretError):
        return type(outcome)(named, outcome.hint)
    if reference.key is None:
        return replace(outcome, secret=named)
    return attempt(lambda _: replace(outcome, secret=named, text=_value_of(named, outcome, reference.key or "")), named)


def _value_of(named: str, outcome: SecretVersion, key: str) -> HiddenText:
    document = replace(outcome, secret=named).document()
    if document.get(key) is None:
        raise SecretMalformed(named, f"its JSON object has no key {key}: see what keys were written there")
    found = document[key]
    return check_text(named, found if isinstance(found, str) else json.dumps(found, ensure_ascii=False))
