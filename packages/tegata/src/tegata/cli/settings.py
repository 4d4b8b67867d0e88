"""`tegata settings`: the reference page of all settings, made from the model that reads them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from tegata.cli.failures import OK
from tegata.settings import ALIASES, PREFIX, Settings

_HEAD = """# Settings

Every setting is an environment variable. A secret may also come from a file named by the same variable with `_FILE`
behind it, or be a reference: the process reads it when it starts. This page is made by `tegata settings`; a test
compares it with the code.

| Reference | leads to |
|---|---|
| `awssm:NAME`, `awssm:ARN`, `awssm:NAME#KEY` | a secret of AWS Secrets Manager, or one key of its JSON object |
| `file:/absolute/path` | what is in the file; a line break at its end does not count |
| `env:NAME`, `env:NAME#KEY` | another environment variable |

Region, endpoint and credentials of AWS are boto3's own affair (`AWS_REGION`, `AWS_ENDPOINT_URL_SECRETS_MANAGER`, a
role), which is the extra `aws` of `tegata-credentials`. Every reference in a process's environment is read, so give
each process those it needs. A value that cannot be had ends the start: exit status 2 where something has to be
corrected (no such secret, not allowed, not what was expected), 3 where the store does not answer. The references of one
store are read together, in one call where the store has one. Federation and mail are not there yet; their secrets will
be settings like these.

| Variable | Form | Default | Meaning |
|---|---|---|---|
"""


def run() -> int:
    """Print the page."""
    sys.stdout.write(settings_page())
    return OK


def settings_page() -> str:
    """Return the page as Markdown."""
    return _HEAD + "".join(f"{line}\n" for line in _lines())


def _lines() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        variable = f"`{PREFIX}{name.upper()}`"
        secret = SecretStr in _members(field.annotation)
        if secret:
            variable += f", `{PREFIX}{name.upper()}_FILE`"
        if name in ALIASES:
            variable += f", `{ALIASES[name]}`"
        yield f"| {variable} | {_form(field)} | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _form(field: FieldInfo) -> str:
    """Return what may be written, in a word or two."""
    members = [member for member in _members(field.annotation) if member is not type(None)]
    choices = [
        repr(choice).strip("'") for member in members if get_origin(member) is Literal for choice in get_args(member)
    ]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    names = {bool: "true or false", int: "whole number", float: "number", SecretStr: "secret text, or a reference"}
    found = [names[member] for member in members if member in names]
    return found[0] if found else "text"


def _members(annotation: Any) -> tuple[Any, ...]:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    return get_args(annotation) if origin in {Union, UnionType} else (annotation,)
