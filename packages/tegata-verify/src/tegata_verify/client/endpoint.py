"""Asks an authorization server's token endpoint for tokens (RFC 6749 §3.2, §5)."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

from tegata_verify.client.authentication import Addressee, ClientAuthentication, Proof
from tegata_verify.client.dpop import DpopKey
from tegata_verify.client.errors import Obstacle, TokenUnavailable
from tegata_verify.client.records import AccessToken, HiddenText, TokenPolicy
from tegata_verify.client.wire import Answer, Request, SyncTransportFactory, Wire, find_retry_after
from tegata_verify.issuers import check_url

_DISCOVERY_KEPT_SECONDS = 3600
_MOST_TOKEN_CHARACTERS = 16 * 1024


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """Where tokens come from: an issuer, whose metadata name the token endpoint unless it is given.

    >>> AuthorizationServer("https://id.example.com/demo").metadata_url
    'https://id.example.com/demo/.well-known/openid-configuration'
    """

    issuer: str
    _: KW_ONLY
    token_endpoint: str | None = None
    allow_loopback_http: bool = False

    def __post_init__(self) -> None:
        check_url(self.issuer, allow_loopback_http=self.allow_loopback_http, what="issuer")
        if self.token_endpoint is not None:
            check_url(self.token_endpoint, allow_loopback_http=self.allow_loopback_http, what="token_endpoint")

    @property
    def metadata_url(self) -> str:
        """The address of the discovery document. OIDC Discovery §4."""
        return self.issuer.rstrip("/") + "/.well-known/openid-configuration"


class TokenEndpoint:
    """Makes token requests of one client. Safe to use from several threads."""

    def __init__(
        self,
        server: AuthorizationServer | str,
        authentication: ClientAuthentication,
        *,
        dpop: DpopKey | None,
        policy: TokenPolicy,
        transport: SyncTransportFactory | None,
        clock: Callable[[], float],
    ) -> None:
        self.server = AuthorizationServer(server) if isinstance(server, str) else server
        self.authentication = authentication
        self.dpop = dpop
        self._clock = clock
        self._wire = Wire(
            transport=transport,
            timeout_seconds=policy.timeout,
            max_bytes=policy.max_bytes,
            allow_loopback_http=self.server.allow_loopback_http,
        )
        self._discovered: tuple[str, float] | None = None

    @property
    def name(self) -> str:
        """What logs call this endpoint and its client."""
        return f"{self.authentication.client_id} at {self.server.issuer}"

    def ask(self, fields: list[tuple[str, str]]) -> tuple[AccessToken, Mapping[str, Any]]:
        """Return a token and the whole answer. Raises `TokenUnavailable`. RFC 6749 §5.1, §5.2."""
        url = self._url()
        answer = self._post(url, fields)
        # The server may want its nonce in the proof; one more request has it. RFC 9449 §8.
        if self.dpop is not None and self.dpop.learn(url, answer.headers) and _wants_nonce(answer):
            answer = self._post(url, fields)
        if answer.status != 200:
            self._forget_address(answer.status)
            raise self._refusal(answer)
        document = answer.document()
        return self._read(document), document

    def _post(self, url: str, fields: list[tuple[str, str]]) -> Answer:
        proof = self._prove(url)
        headers = dict(proof.headers)
        if self.dpop is not None:
            headers["DPoP"] = self.dpop.prove("POST", url, now=self._clock())
        # What the metadata named gets our credentials: it may lead no further than the address of the keys.
        named_by = self.server.metadata_url if self.server.token_endpoint is None else None
        return self._wire.post(Request("POST", url, self._tls(), named_by, headers), [*fields, *proof.fields])

    def _prove(self, url: str) -> Proof:
        return self.authentication.prove(Addressee(self.server.issuer, url, self._clock()))

    def _tls(self) -> ssl.SSLContext | None:
        try:
            return self.authentication.tls()
        except (OSError, ValueError) as error:
            trouble = type(error).__name__
        raise TokenUnavailable(Obstacle.NOT_CONFIGURED, f"client certificate: {trouble}")

    def _url(self) -> str:
        if self.server.token_endpoint is not None:
            return self.server.token_endpoint
        now = time.monotonic()
        if self._discovered is None or now - self._discovered[1] > _DISCOVERY_KEPT_SECONDS:
            self._discovered = self._discover(), now
        return self._discovered[0]

    def _discover(self) -> str:
        """Return the token endpoint of the issuer's own metadata. OIDC Discovery §4.3, RFC 8414 §3.3, RFC 8705 §5."""
        tls = self._tls()
        answer = self._wire.get(self.server.metadata_url, tls)
        if answer.status != 200:
            raise self._refusal(answer)
        metadata = answer.document()
        if metadata.get("issuer") != self.server.issuer:
            raise TokenUnavailable(Obstacle.BAD_ANSWER, "the discovery document is for another issuer")
        aliases = metadata.get("mtls_endpoint_aliases")
        found = aliases.get("token_endpoint") if tls is not None and isinstance(aliases, Mapping) else None
        found = metadata.get("token_endpoint") if found is None else found
        if not isinstance(found, str):
            raise TokenUnavailable(Obstacle.BAD_ANSWER, "the discovery document names no token_endpoint")
        try:
            check_url(found, allow_loopback_http=self.server.allow_loopback_http, what="token_endpoint")
        except ValueError as error:
            trouble = str(error)
        else:
            return found
        raise TokenUnavailable(Obstacle.BAD_ANSWER, trouble)

    def _forget_address(self, status: int) -> None:
        if status in (404, 405, 410):
            self._discovered = None  # the endpoint may have moved: the metadata know

    def _refusal(self, answer: Answer) -> TokenUnavailable:
        wait = find_retry_after(answer.headers, self._clock())
        if answer.status == 429:
            return TokenUnavailable(Obstacle.THROTTLED, retry_after_seconds=wait)
        if answer.status >= 500:
            return TokenUnavailable(Obstacle.UNAVAILABLE, f"status {answer.status}", retry_after_seconds=wait)
        if answer.status in (400, 401, 403):
            code = answer.document().get("error")
            return TokenUnavailable(Obstacle.REFUSED, code=code if isinstance(code, str) else None)
        return TokenUnavailable(Obstacle.BAD_ANSWER, f"status {answer.status}")

    def _read(self, document: Mapping[str, Any]) -> AccessToken:
        value, kind = document.get("access_token"), document.get("token_type")
        # Printable ASCII without spaces: what else could be sent in a header as one token?
        if not isinstance(value, str) or not value or not all("!" <= c <= "~" for c in value):
            raise TokenUnavailable(Obstacle.BAD_ANSWER, "no access_token that could be sent")
        if len(value) > _MOST_TOKEN_CHARACTERS:
            raise TokenUnavailable(Obstacle.BAD_ANSWER, "an access_token that is too large")
        wanted = "DPoP" if self.dpop is not None else "Bearer"
        if not isinstance(kind, str) or kind.lower() != wanted.lower():
            # A bearer token in place of a bound one is no small loss: it is what the key was for. RFC 9449 §5.
            raise TokenUnavailable(Obstacle.BAD_ANSWER, f"token_type is not {wanted}")
        scope = document.get("scope")
        scopes = frozenset(scope.split()) if isinstance(scope, str) else frozenset()
        return AccessToken(HiddenText(value), wanted, scopes, find_lifetime(document.get("expires_in")))


def find_lifetime(expires_in: object) -> float | None:
    """Return the seconds that `expires_in` states; some servers write the number as text. RFC 6749 §5.1."""
    if isinstance(expires_in, str) and expires_in.isascii() and expires_in.isdigit():
        expires_in = int(expires_in[:12])
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not math.isfinite(expires_in):
        return None
    return float(min(expires_in, 10**9)) if expires_in > 0 else None


def _wants_nonce(answer: Answer) -> bool:
    return answer.status in (400, 401) and answer.document().get("error") == "use_dpop_nonce"
