"""No secret stands in a template: not in a property, a variable, a script, a default, nor in an output."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from tegata_infra.assembly import Assembly, walk

from .rendering import render

SECRET_WORDS = re.compile(
    r"(pass(word|wd|phrase)|secret|token|api_?-?key|private_?-?key|credential|master_?-?key|encryption_?-?key)",
    re.IGNORECASE,
)

NO_SECRETS = re.compile(
    r"""(Arn|Id|Ids|Name|Names|Type|Mode|Method|Methods|Length|Days|Policy|Policies|Rotation|Expires?In|Characters|Url|Uri
    |Endpoint|Header|Scopes?|Flows?|Validity|Units?|Version|Stages?|Enabled|Protection|Revocation|Description|File
    |Key|Lambda|Rules|Action|Config|Configuration|Statement|Count|Age|Ttl|Seconds|Schedule|Users?|Rotated|Plans?|Options
    |Limit|Template|Issuer|Audience)$""",
    re.VERBOSE,
)
"""Last words of properties that talk about a secret and hold none: SecretArn, TokenValidityUnits, PasswordLength."""

SHAPES = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "an access key of AWS": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a URL with a password": re.compile(r"\b[a-z][a-z0-9+]*://[^/\s:@<>{}$]+:[^/\s@<>{}$]+@"),
    "a signed token": re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\."),
    "a variable with a password": re.compile(
        r"""(?im)^\s*(export\s+)?[a-z_]*(password|secret|token|api_?key)\s*=\s*(["']?)(?!arn:|awssm:)[a-z0-9+/_!-]{6,}\3\s*(;|$)"""
    ),
}

KNOWN_VALUES = re.compile(
    r"""^(arn:|awssm:|\{\{resolve:(secretsmanager|ssm-secure):|alias/|https://|<|true$|false$|[0-9]*$|aws_iam$|iam$
    |secretsmanager$|file$|/[a-z0-9/_.-]*$|%\{)""",
    re.VERBOSE | re.IGNORECASE,
)
"""What may stand where a secret would: references, switches, numbers, paths."""

RANDOM = re.compile(r"(?<![A-Za-z0-9+/=_:.\-])[A-Za-z0-9+/_-]{24,}={0,2}(?![A-Za-z0-9+/=_:.\-])")
BITS_OF_A_SECRET = 4.2
"""Bits for each sign from which a long word looks made up: names in templates have 3.2 to 4, base64 of noise 4.5."""


def check_secrets(assembly: Assembly) -> list[str]:
    """Return what looks like a secret, without showing it."""
    wrong = []
    for stack, template in assembly.templates.items():
        wrong += [f"{stack}: {words}" for words in _check_parameters(template)]
        wrong += [f"{stack}: {words}" for words in _check_outputs(assembly, stack, template)]
        for name, resource in template.get("Resources", {}).items():
            wrong += [f"{stack}/{name}: {words}" for words in _check_properties(resource.get("Properties", {}))]
    return wrong


def measure_entropy(word: str) -> float:
    """Return the bits for each sign of a word, by how often its signs come.

    >>> measure_entropy("aaaa"), measure_entropy("abab")
    (0.0, 1.0)
    """
    counts = Counter(word)
    return 0.0 - sum(count / len(word) * math.log2(count / len(word)) for count in counts.values())


def _check_parameters(template: Any) -> Iterator[str]:
    for name, parameter in template.get("Parameters", {}).items():
        if SECRET_WORDS.search(name) and not NO_SECRETS.search(name):
            if parameter.get("Default"):
                yield f"the parameter {name} has a default"
            if not parameter.get("NoEcho"):
                yield f"the parameter {name} is shown"
        yield from (f"the parameter {name} has {words}" for words in _looks(str(parameter.get("Default", ""))))


def _check_outputs(assembly: Assembly, stack: str, template: Any) -> Iterator[str]:
    for name, output in template.get("Outputs", {}).items():
        text = render(output["Value"])
        if "resolve:" in text:
            yield f"the output {name} shows what a secret holds"
        yield from (f"the output {name} has {words}" for words in _looks(re.sub(r"<[^>]*>", "", text)))


def _check_properties(properties: Any) -> Iterator[str]:
    for path, value in walk(properties):
        where = ".".join(path)
        if isinstance(value, dict) and "Fn::Join" in value:
            yield from (f"{where} has {words}" for words in _look_shapes(render(value)))
        named = isinstance(value, dict) and {"Name", "Value"} <= value.keys() and isinstance(value["Name"], str)
        if named and "Dimensions" not in path:
            yield from _check_named(where, value["Name"], render(value["Value"]))
        if not isinstance(value, str) or not path or _REFERENCES & set(path):
            continue
        key = next((word for word in reversed(path) if not word.isdigit()), "")
        if "TokenValidityUnits" not in path:
            yield from _check_named(where, key, value)
        if key not in _NAMES:
            yield from (f"{where} has {words}" for words in _looks(value))
        if key in ("SecretString", "SecretStringTemplate"):
            yield from _check_first_value(where, value)


def _check_named(where: str, name: str, value: str) -> Iterator[str]:
    """Look at a value whose name says that it is a secret."""
    if SECRET_WORDS.search(name) and not _talks_about(name) and not KNOWN_VALUES.match(value):
        yield f"{where} ({name}) has a plain value"


def _talks_about(name: str) -> bool:
    words = name.title().replace("_", "").replace("-", "") if "_" in name or name.isupper() else name
    return NO_SECRETS.search(words) is not None or name in _NOT_SECRETS


def _check_first_value(where: str, value: str) -> Iterator[str]:
    """Look at what a secret begins with: members that name a secret may not be there, they are generated."""
    try:
        members = json.loads(value)
    except ValueError:
        yield f"{where} is a plain text"
        return
    yield from (
        f"{where} has a plain {name}"
        for name, member in members.items()
        if SECRET_WORDS.search(name) and name not in _FIRST_VALUES and member
    )


def _looks(text: str) -> Iterator[str]:
    yield from _look_shapes(text)
    for word in RANDOM.findall(text):
        if measure_entropy(word) >= BITS_OF_A_SECRET and not _is_readable(word):
            yield f"a word that looks made up, of {len(word)} signs"


def _look_shapes(text: str) -> Iterator[str]:
    yield from (what for what, shape in SHAPES.items() if shape.search(text))


def _is_readable(word: str) -> bool:
    """Whether a word is made of names: as CDK's ids are, and paths, and words joined by hyphens."""
    parts = [part for part in re.split(r"[/_+\-]|(?<=[a-z0-9])(?=[A-Z])", word) if part]
    letters = [part for part in parts if re.fullmatch(r"[A-Z]?[a-z]{2,}|[A-Z]{2,8}|[0-9]{1,4}", part)]
    return sum(map(len, letters)) >= 0.6 * sum(map(len, parts))


_REFERENCES = {"Ref", "Fn::GetAtt", "Fn::ImportValue", "Fn::FindInMap", "Condition"}
"""Members under which names of CDK's making stand."""

_NAMES = {"PolicyName", "SslPolicy"}
"""Properties with names that look made up: CDK's ids, and AWS's policies of TLS."""

_NOT_SECRETS = {
    "GenerateSecret",
    "GenerateStringKey",
    "HttpTokens",
    "SECRETS",
    "SecretString",
    "SecretStringTemplate",
    "password_encryption",
}
_FIRST_VALUES = {"api_key", "authentication"}
"""Members that a secret may begin with: who somebody is, and how they log in."""
