"""What reached the stand-in: which operation on which secret by whom. Never a value."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}\Z")


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived; an SDK that tries again makes another one.

    `secrets` are the ids as they were sent; `principal` is the access key id that signed; `fault` says what the fault
    plan did to it, if anything.

    >>> Call("GetSecretValue", ("acme-dev-secret-jwt",), "AKIAWEB").secret
    'acme-dev-secret-jwt'
    """

    operation: str
    secrets: tuple[str, ...] = ()
    principal: str = ""
    fault: str = ""

    @property
    def secret(self) -> str:
        """Return the id of the secret, or the first of several, or an empty string."""
        return self.secrets[0] if self.secrets else ""

    def concerns(self, operation: str | None = None, secret: str | None = None, principal: str | None = None) -> bool:
        """Say whether this is such a call. A secret may be named by its name or its ARN; `*` is any operation."""
        return (
            (operation in (None, "*") or self.operation == operation)
            and (secret is None or any(is_same_secret(sent, secret) for sent in self.secrets))
            and (principal is None or self.principal == principal)
        )


class CallLog:
    """The calls since the last `clear()`, oldest first.

    >>> calls = CallLog()
    >>> calls.append(Call("GetSecretValue", ("a",)))
    >>> calls.append(Call("GetSecretValue", ("b",), fault="throttled"))
    >>> calls.count(), calls.count("GetSecretValue", secret="b"), calls.operations()
    (2, 1, ['GetSecretValue', 'GetSecretValue'])
    """

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Call]:
        with self._lock:
            return iter(tuple(self._calls))

    def __len__(self) -> int:
        return len(self._calls)

    def __getitem__(self, index: int) -> Call:
        return self._calls[index]

    def append(self, call: Call) -> None:
        """Take note of a call."""
        with self._lock:
            self._calls.append(call)

    def clear(self) -> None:
        """Forget all calls."""
        with self._lock:
            self._calls.clear()

    def count(self, operation: str | None = None, *, secret: str | None = None, principal: str | None = None) -> int:
        """Return how many such calls there were."""
        return sum(call.concerns(operation, secret, principal) for call in self)

    def operations(self) -> list[str]:
        """Return the operations, in the order of the calls."""
        return [call.operation for call in self]


def is_same_secret(one: str, other: str) -> bool:
    """Say whether two ids, each a name or an ARN with or without its random end, may mean the same secret."""
    return bool(_names_of(one) & _names_of(other))


def _names_of(secret: str) -> frozenset[str]:
    if not secret.startswith("arn:"):
        return frozenset({secret})
    named = secret.split(":", 6)[-1]
    return frozenset({secret, named, _SUFFIX.sub("", named)})
