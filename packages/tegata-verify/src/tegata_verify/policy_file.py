"""Reads an access policy from YAML, strictly: a file that decides about access must not mean two things.

Needs the extra `yaml`. Only plain texts, lists and groups of names are understood; tags, aliases, repeated names and
words that YAML takes for something else than a text (`no`, `1`, `2020-01-01`) are refused, with the line.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tegata_verify.policy import AccessPolicy, PolicyError, build_policy, spell_path

MAX_BYTES = 256 * 1024
_MOST_LEVELS = 8
_TEXT = "tag:yaml.org,2002:str"
_EMPTY = "tag:yaml.org,2002:null"


class PolicyFileError(ValueError):
    """A policy's text is not what it must be. `line` counts from one.

    >>> print(PolicyFileError("access-policy.yaml", 3, "roles.viewer: is empty"))
    access-policy.yaml, line 3: roles.viewer: is empty
    """

    def __init__(self, source: str, line: int | None, problem: str) -> None:
        super().__init__(f"{source}, line {line}: {problem}" if line is not None else f"{source}: {problem}")
        self.source = source
        self.line = line


def read_policy(path: str | Path) -> AccessPolicy:
    """Return the policy that a file holds. Raises `PolicyFileError`, or `OSError` if it cannot be read."""
    with Path(path).open("rb") as file:
        return parse_policy(file.read(MAX_BYTES + 1), source=Path(path).name)


def parse_policy(text: str | bytes, *, source: str = "policy") -> AccessPolicy:
    """Return the policy that a text holds; `source` is how messages call it. Raises `PolicyFileError`.

    >>> policy = parse_policy('roles: {viewer: ["*:read"]}')
    >>> parse_policy("roles: {viewer: reading}")
    Traceback (most recent call last):
        ...
    tegata_verify.policy_file.PolicyFileError: policy, line 1: roles.viewer: is a text; write a list of names
    """
    raw = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(raw) > MAX_BYTES:
        raise PolicyFileError(source, None, f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        decoded = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise PolicyFileError(source, None, "is not UTF-8 text") from None
    reader = _Reader(source)
    try:
        _check_events(decoded, source)
        node = yaml.compose(decoded, Loader=yaml.SafeLoader)
        return build_policy({} if node is None else reader.read(node, ()))
    except PolicyError as error:
        raise PolicyFileError(source, reader.line_of(error.path), str(error)) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise PolicyFileError(source, mark.line + 1 if mark else None, f"is not YAML: {error.problem}") from None
    except yaml.YAMLError:  # the reader's errors: characters that YAML does not know
        raise PolicyFileError(source, None, "is not YAML: it holds characters that are not text") from None


def _check_events(text: str, source: str) -> None:
    # Before anything is built: an alias could make little text into much, and nesting costs stack.
    level = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            raise PolicyFileError(source, line, f"*{event.anchor} is an alias to YAML; write wildcards in quotes")
        if isinstance(event, yaml.NodeEvent) and (event.anchor or getattr(event, "tag", None)):
            raise PolicyFileError(source, line, "anchors (&name) and tags (!name) are not understood")
        if isinstance(event, yaml.CollectionStartEvent):
            level += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        if level > _MOST_LEVELS:
            raise PolicyFileError(source, line, f"is nested deeper than {_MOST_LEVELS} levels")


class _Reader:
    """Turns nodes into plain values and keeps the line of each."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._lines: dict[tuple[str | int, ...], int] = {}

    def line_of(self, path: tuple[str | int, ...]) -> int | None:
        """Return the line of the nearest part that is written down."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path)

    def read(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        self._lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(member, (*path, number)) for number, member in enumerate(node.value)]
        return None if node.tag == _EMPTY else self._text(node, path)

    def _read_mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = self._text(key, path)
            here = (*path, name)
            if name in found:
                raise self._refuse(key, here, "is there twice")
            self._lines[here] = key.start_mark.line + 1
            found[name] = self.read(value, here)
        return found

    def _text(self, node: yaml.Node, path: tuple[str | int, ...]) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._refuse(node, path, "has a name that is not a text")
        if node.tag != _TEXT:
            raise self._refuse(node, path, f"{node.value!r} is not a text to YAML; write it in quotes")
        return str(node.value)

    def _refuse(self, node: yaml.Node, path: tuple[str | int, ...], problem: str) -> PolicyFileError:
        return PolicyFileError(self._source, node.start_mark.line + 1, f"{spell_path(path)}: {problem}")
