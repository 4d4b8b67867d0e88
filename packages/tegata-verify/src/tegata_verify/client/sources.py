"""Where a call to another service gets its token: as this service itself, or on behalf of a user."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NoReturn, Protocol

from tegata_verify.client.authentication import ClientAuthentication
from tegata_verify.client.dpop import DpopKey
from tegata_verify.client.endpoint import AuthorizationServer, TokenEndpoint
from tegata_verify.client.errors import Obstacle, TokenUnavailable
from tegata_verify.client.flights import Surroundings, TokenCell, hidden
from tegata_verify.client.records import AccessToken, HiddenText, TokenPolicy, Wanted
from tegata_verify.client.wire import SyncTransportFactory
from tegata_verify.locks import ForkSafeLock

ACCESS_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


class TokenSource(Protocol):
    """Gives tokens for calls. One object serves asyncio and threads alike."""

    def get(self) -> AccessToken:
        """Return a living token; blocks only while there is none. Raises `TokenUnavailable`."""

    async def aget(self) -> AccessToken:
        """Return a living token; waits only while there is none. Raises `TokenUnavailable`."""

    def rejected(self, value: str) -> None:
        """Say that the service has refused this token: the next one will be another."""

    @property
    def dpop(self) -> DpopKey | None:
        """The key that the tokens are bound to, if they are."""


class ClientCredentials:
    """Tokens for this service itself (RFC 6749 §4.4). Make one for the process and for each kind of token.

    The token is kept, renewed ahead of its end, and asked for once however many callers wait. `server` is the issuer or
    an `AuthorizationServer`; `wanted` says what the token is for. With `dpop` tokens are bound to its key.

    >>> from tegata_verify.client import ClientSecret
    >>> source = ClientCredentials(
    ...     "https://id.example.com/demo",
    ...     ClientSecret("order-service", "a secret"),
    ...     Wanted("read", resource="https://stock.example.com"),
    ... )
    >>> source
    <ClientCredentials order-service at https://id.example.com/demo>

    `source.get()` gives the token in a thread, `await source.aget()` in a task.
    """

    def __init__(
        self,
        server: AuthorizationServer | str,
        authentication: ClientAuthentication,
        wanted: Wanted | None = None,
        *,
        dpop: DpopKey | None = None,
        policy: TokenPolicy | None = None,
        transport: SyncTransportFactory | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        policy, around = policy or TokenPolicy(), surroundings or Surroundings()
        self.dpop = dpop
        self._endpoint = TokenEndpoint(
            server, authentication, dpop=dpop, policy=policy, transport=transport, clock=around.clock
        )
        self._fields = [("grant_type", "client_credentials"), *(wanted or Wanted()).fields()]
        self._cell = TokenCell(self._obtain, name=self._endpoint.name, policy=policy, surroundings=around)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint.name}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token source is not pickled: each process makes its own")

    def get(self) -> AccessToken:
        """Return a living token; blocks only while there is none. Raises `TokenUnavailable`."""
        return self._cell.get()

    async def aget(self) -> AccessToken:
        """Return a living token; waits only while there is none. Raises `TokenUnavailable`."""
        return await self._cell.aget()

    def rejected(self, value: str) -> None:
        """Say that the service has refused this token: the next one will be another."""
        self._cell.rejected(value)

    def _obtain(self) -> AccessToken:
        return self._endpoint.ask(self._fields)[0]


class TokenExchange:
    """Tokens for calls on behalf of whoever called us (RFC 8693): the subject's token is exchanged for a narrower one.

    `for_subject` gives the `TokenSource` of one subject token. What was exchanged is kept by the digest of the
    subject's token, never beyond that token's own end, and for at most `remembered_subjects`. `actor` names who acts
    for the subject, if the server wants to be told by a token (§4.1); the client's own authentication says it as well.

    >>> from tegata_verify.client import ClientSecret
    >>> exchange = TokenExchange(
    ...     "https://id.example.com/demo", ClientSecret("order-service", "a secret"), Wanted(audience="stock-service")
    ... )
    >>> exchange
    <TokenExchange order-service at https://id.example.com/demo>

    `exchange.for_subject(token)` is a source like `ClientCredentials`.
    """

    def __init__(
        self,
        server: AuthorizationServer | str,
        authentication: ClientAuthentication,
        wanted: Wanted | None = None,
        *,
        actor: ClientCredentials | None = None,
        dpop: DpopKey | None = None,
        remembered_subjects: int = 1024,
        policy: TokenPolicy | None = None,
        transport: SyncTransportFactory | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.dpop = dpop
        self._policy, self._around = policy or TokenPolicy(), surroundings or Surroundings()
        self._endpoint = TokenEndpoint(
            server, authentication, dpop=dpop, policy=self._policy, transport=transport, clock=self._around.clock
        )
        self._fields = [("grant_type", _EXCHANGE), *(wanted or Wanted()).fields()]
        self._actor = actor
        self._remembered_subjects = remembered_subjects
        self._cells: OrderedDict[bytes, TokenCell] = OrderedDict()
        self._lock = ForkSafeLock()
        self._rest: tuple[TokenUnavailable, float] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint.name}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token source is not pickled: each process makes its own")

    def for_subject(self, subject_token: str) -> TokenSource:
        """Return the source of tokens on behalf of whom `subject_token`, which you have verified, is about."""
        subject = hidden(subject_token)
        digest = hashlib.sha256(subject.encode(errors="surrogatepass")).digest()
        with self._lock:
            cell = self._cells.get(digest)
            if cell is None:
                cell = self._cells[digest] = TokenCell(
                    lambda: self._obtain(subject),
                    name=self._endpoint.name,
                    policy=self._policy,
                    surroundings=self._around,
                    ends_at=find_end(subject),
                )
            self._cells.move_to_end(digest)
            while len(self._cells) > self._remembered_subjects:
                self._cells.popitem(last=False)
        return _OnBehalfOf(cell, self.dpop)

    def _obtain(self, subject: HiddenText) -> AccessToken:
        # One outage of the server is one for every subject: not each of a thousand users' requests has to find out.
        rest = self._rest
        if rest is not None and self._around.ticks() < rest[1]:
            raise rest[0].again()
        try:
            return self._exchange(subject)
        except TokenUnavailable as error:
            if error.obstacle in (Obstacle.THROTTLED, Obstacle.UNAVAILABLE, Obstacle.TIMEOUT):
                pause = max(self._policy.failure_pause, error.retry_after_seconds or 0)
                self._rest = error.again(), self._around.ticks() + min(pause, self._policy.longest_retry_after)
            raise

    def _exchange(self, subject: HiddenText) -> AccessToken:
        fields = [*self._fields, ("subject_token", subject), ("subject_token_type", ACCESS_TOKEN_TYPE)]
        if self._actor is not None:
            fields += [("actor_token", self._actor.get().value), ("actor_token_type", ACCESS_TOKEN_TYPE)]
        token, document = self._endpoint.ask(fields)
        check_issued_type(document)
        return token


class _OnBehalfOf:
    """The tokens of one subject."""

    def __init__(self, cell: TokenCell, dpop: DpopKey | None) -> None:
        self._cell = cell
        self.dpop = dpop

    def get(self) -> AccessToken:
        return self._cell.get()

    async def aget(self) -> AccessToken:
        return await self._cell.aget()

    def rejected(self, value: str) -> None:
        self._cell.rejected(value)


def check_issued_type(document: Mapping[str, Any]) -> None:
    """Refuse what is not an access token, such as an ID token. Raises `TokenUnavailable`. RFC 8693 §2.2.1."""
    issued = document.get("issued_token_type")
    if issued not in (ACCESS_TOKEN_TYPE, "urn:ietf:params:oauth:token-type:jwt"):
        raise TokenUnavailable(Obstacle.BAD_ANSWER, "issued_token_type is not an access token")


def find_end(token: str) -> float | None:
    """Return the `exp` of a JWT, without trusting it; None for any other text. RFC 7519 §4.1.4."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    end = claims.get("exp") if isinstance(claims, dict) else None
    return float(end) if isinstance(end, int | float) and not isinstance(end, bool) and abs(end) < 2**53 else None
