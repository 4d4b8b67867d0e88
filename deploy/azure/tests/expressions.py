"""What Azure Resource Manager computes from the expressions of a template, for the functions that ours use.

Sources: "Template functions" and "Syntax and expressions in ARM templates" of the Azure Resource Manager documentation.
A function or property that is not known here raises: nothing passes for right because nobody looked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import NAMESPACE_URL, uuid5

_TOKENS = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[()\[\].,]))")
SUBSCRIPTION = "/subscriptions/00000000-0000-4000-8000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/tegata"
TENANT = "00000000-0000-4000-8000-00000000000f"


class TemplateError(Exception):
    """Something that Azure Resource Manager would refuse."""


def is_expression(text: str) -> bool:
    """Whether a string is computed: `[…]`, but not `[[…`, which is a text that begins so."""
    return text.startswith("[") and text.endswith("]") and not text.startswith("[[")


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments."""

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """`of.name` or `of[key]`."""

    of: Any
    key: Any


def parse(text: str) -> Any:
    """Parse the inside of `[…]` into calls, parts and literals."""
    tokens, at = [], 0
    inside = text[1:-1].rstrip()
    while at < len(inside):
        found = _TOKENS.match(inside, at)
        if found is None:
            raise TemplateError(f"cannot be read at {inside[at:]!r}: {text}")
        tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
        at = found.end()
    reader = _Reader(tokens, text)
    parsed = reader.value()
    if reader.tokens:
        raise TemplateError(f"something follows the end: {text}")
    return parsed


@dataclass(slots=True)
class _Reader:
    tokens: list[tuple[str, str]]
    text: str

    def take(self, mark: str | None = None) -> tuple[str, str]:
        if not self.tokens or (mark is not None and self.tokens[0][1] != mark):
            raise TemplateError(f"{mark or 'more'} is missing: {self.text}")
        return self.tokens.pop(0)

    def follows(self, mark: str) -> bool:
        return bool(self.tokens) and self.tokens[0] == ("mark", mark)

    def value(self) -> Any:
        kind, word = self.take()
        if kind == "text":
            found: Any = word[1:-1].replace("''", "'")
        elif kind == "number":
            found = int(word)
        elif kind == "word" and self.follows("("):
            found = Call(word, self.arguments())
        else:
            raise TemplateError(f"{word!r} is neither a literal nor a function: {self.text}")
        while self.follows(".") or self.follows("["):
            if self.take()[1] == ".":
                found = Part(found, self.take()[1])
            else:
                found = Part(found, self.value())
                self.take("]")
        return found

    def arguments(self) -> tuple[Any, ...]:
        self.take("(")
        given: list[Any] = []
        while not self.follows(")"):
            if given:
                self.take(",")
            given.append(self.value())
        self.take(")")
        return tuple(given)


@dataclass(slots=True)
class Scope:
    """What an expression may refer to. `known`: the stand-in for what `reference` finds, by resource id.

    `used`: which parameters, variables and resources were asked for.
    """

    parameters: Mapping[str, Any]
    variables: Mapping[str, Any] = field(default_factory=dict)
    known: Callable[[str], Mapping[str, Any]] | None = None
    indexes: dict[str, int] = field(default_factory=dict)
    group: str = GROUP
    used: set[tuple[str, str]] = field(default_factory=set)

    def evaluate(self, value: Any) -> Any:
        """Return `value` with every expression in it computed, keys included."""
        if isinstance(value, str):
            return self._compute(parse(value)) if is_expression(value) else value.replace("[[", "[", 1)
        if isinstance(value, list):
            return [self.evaluate(one) for one in value]
        if isinstance(value, Mapping):
            plain = {self.evaluate(key): self.evaluate(one) for key, one in value.items() if key != "copy"}
            return plain | (self._copies(value["copy"]) if "copy" in value else {})
        return value

    def _copies(self, loops: list[Mapping[str, Any]]) -> dict[str, Any]:
        made = {}
        for loop in loops:
            name, rounds = loop["name"], []
            for index in range(self.evaluate(loop["count"])):
                self.indexes[name] = index
                rounds.append(self.evaluate(loop["input"]))
            self.indexes.pop(name, None)
            made[name] = rounds
        return made

    def _compute(self, node: Any) -> Any:
        if isinstance(node, Part):
            of, key = self._compute(node.of), self._compute(node.key)
            try:
                return of[key]
            except (KeyError, IndexError, TypeError):
                raise TemplateError(f"there is no {key!r} in {of!r}") from None
        if not isinstance(node, Call):
            return node
        if node.name == "if":  # the branch that is not taken is not computed
            condition, yes, no = node.arguments
            return self._compute(yes if self._compute(condition) else no)
        arguments = [self._compute(argument) for argument in node.arguments]
        special = getattr(self, f"_{node.name}", None)
        if special is not None:
            return special(*arguments)
        if node.name not in _FUNCTIONS:
            raise TemplateError(f"the function {node.name} is not known here")
        return _FUNCTIONS[node.name](*arguments)

    def _parameters(self, name: str) -> Any:
        return self._named("parameters", self.parameters, name)

    def _variables(self, name: str) -> Any:
        found = self._named("variables", self.variables, name)
        return self.evaluate(found)

    def _named(self, kind: str, where: Mapping[str, Any], name: str) -> Any:
        if name not in where:
            raise TemplateError(f"{kind}('{name}') is not declared")
        self.used.add((kind, name))
        return where[name]

    def _copyIndex(self, name: str | None = None) -> int:
        if not self.indexes:
            raise TemplateError("copyIndex() outside of a loop")
        return self.indexes[name] if name is not None else self.indexes[""]

    def _resourceGroup(self) -> dict[str, str]:
        return {"id": self.group, "location": "japaneast", "name": self.group.rpartition("/")[2]}

    def _resourceId(self, *words: str) -> str:
        return f"{self.group}/providers/{_path(*words)}"

    def _reference(self, resource_id: str, api_version: str) -> Mapping[str, Any]:
        if self.known is None:
            raise TemplateError("reference() is not allowed here")
        self.used.add(("reference", f"{resource_id}@{api_version}"))
        return self.known(resource_id)


def _path(kind: str, *names: str) -> str:
    space, *kinds = kind.split("/")
    if len(kinds) != len(names):
        raise TemplateError(f"{kind} takes {len(kinds)} names, not {len(names)}")
    return "/".join([space, *(word for pair in zip(kinds, names, strict=True) for word in pair)])


def _format(pattern: str, *values: Any) -> str:
    # Escaped braces are left out: whether Resource Manager reads them as .NET does is not written down.
    if "{{" in pattern or "}}" in pattern:
        raise TemplateError(f"braces in a pattern: {pattern}")
    return re.sub(r"\{(\d+)\}", lambda found: str(values[int(found[1])]), pattern)


def _union(*parts: Any) -> Any:
    return {key: value for part in parts for key, value in part.items()}


def _unique(*words: str) -> str:
    """13 characters that depend on the arguments; the real ones differ, their form does not."""
    return "".join(chr(ord("a") + byte % 26) for byte in sha256("\0".join(words).encode()).digest()[:13])


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: all(values),
    "createArray": lambda *values: list(values),
    "createObject": lambda *pairs: dict(zip(pairs[::2], pairs[1::2], strict=True)),
    "div": lambda one, other: int(one / other),
    "empty": lambda value: value is None or len(value) == 0,
    "environment": lambda: {"suffixes": {"keyvaultDns": ".vault.azure.net"}},
    "equals": lambda one, other: one == other,
    "format": _format,
    "guid": lambda *words: str(uuid5(NAMESPACE_URL, "\0".join(words))),
    "json": json.loads,
    "length": len,
    "mul": lambda one, other: one * other,
    "null": lambda: None,
    "not": lambda value: not value,
    "replace": lambda text, old, new: text.replace(old, new),
    "split": lambda text, mark: text.split(mark),
    "string": str,
    "subscription": lambda: {"tenantId": TENANT, "id": SUBSCRIPTION},
    "subscriptionResourceId": lambda *words: f"{SUBSCRIPTION}/providers/{_path(*words)}",
    "take": lambda text, count: text[:count],
    "union": _union,
    "uniqueString": _unique,
}
