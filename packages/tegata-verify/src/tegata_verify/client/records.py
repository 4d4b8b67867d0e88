"""The token that a call carries, and the words that ask for one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field
from typing import NoReturn


class HiddenText(str):
    """A credential: a text where one is needed, a placeholder in every `repr`, and nothing that can be pickled.

    Error reports render the local variables of each frame with `repr`.

    >>> HiddenText("secret"), HiddenText("secret") == "secret"
    ('***', True)
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential is not pickled: it stays in the memory of one process")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for calls to another service. `lifetime_seconds` counts from its arrival, None if nobody said.

    >>> token = AccessToken(HiddenText("abc"), scopes=frozenset({"read"}))
    >>> token.authorization, token
    ('Bearer abc', AccessToken(token_type='Bearer', scopes=frozenset({'read'}), lifetime_seconds=None))
    """

    value: HiddenText = field(repr=False)
    token_type: str = "Bearer"
    scopes: frozenset[str] = frozenset()
    lifetime_seconds: float | None = None

    @property
    def authorization(self) -> str:
        """The value of the `Authorization` header. RFC 6750 §2.1, RFC 9449 §7.1."""
        return f"{self.token_type} {self.value}"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not pickled: it stays in the memory of one process")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a token is for: scopes, and the services it is meant for (RFC 8707 `resource`, else `audience`).

    One text is one name, except that scopes may be separated by spaces.

    >>> Wanted("read write", resource="https://stock.example.com").fields()
    [('scope', 'read write'), ('resource', 'https://stock.example.com')]
    """

    scope: str | Collection[str] = ()
    _: KW_ONLY
    resource: str | Collection[str] = ()
    audience: str | Collection[str] = ()

    def fields(self) -> list[tuple[str, str]]:
        """Return the parameters of the token request. RFC 6749 §3.3, RFC 8707 §2, RFC 8693 §2.1."""
        scope = self.scope if isinstance(self.scope, str) else " ".join(self.scope)
        fields = [("scope", scope)] if scope else []
        for name, value in (("resource", self.resource), ("audience", self.audience)):
            fields += [(name, each) for each in ([value] if isinstance(value, str) else value)]
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenPolicy:
    """When another token is looked for; seconds, except for the shares of a token's life.

    A token is renewed in the background after `refresh_share` of its life, earlier by up to `jitter_share` so that
    many processes do not ask at once, and is no longer handed out `margin` before its end. After a failure nobody asks
    for `failure_pause`, doubled with each further one up to `longest_pause`, or for as long as the server's Retry-After
    says, up to `longest_retry_after`. A token that was refused is replaced at most once in `rejection_pause`.
    """

    refresh_share: float = 0.8
    jitter_share: float = 0.1
    margin: float = 10
    unknown_life: float = 300
    failure_pause: float = 1
    longest_pause: float = 30
    longest_retry_after: float = 300
    rejection_pause: float = 10
    timeout: float = 10
    max_bytes: int = 64 * 1024
