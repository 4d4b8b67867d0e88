"""Asks an issuer's introspection endpoint: one bounded POST, never redirected, never over plain http (RFC 7662 §2)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2

from tegata_verify.client.authentication import Addressee, ClientAuthentication, Proof
from tegata_verify.client.wire import find_retry_after
from tegata_verify.documents import DocumentFetcher, FetchFailed
from tegata_verify.issuers import Generic, check_url
from tegata_verify.keys import Clock, is_within
from tegata_verify.outgoing import Outgoing, TransportFactory
from tegata_verify.single_flight import SingleFlight
from tegata_verify.strict_json import MalformedJson, parse_json_object

_DISCOVERY_KEPT_SECONDS = 3600
_GONE = (404, 405, 410)
_ABOUT_ONE_TOKEN = (400, 413, 414, 422, 431)  # RFC 9110 §15.5, RFC 6585 §5: the issuer answers, but not to this


class NoAnswer(Exception):
    """The issuer did not say anything about the token; the text says why, for logs, and holds no token.

    `is_about_token` tells that another token may well get an answer.
    """

    def __init__(self, text: str, *, retry_after_seconds: float | None = None, is_about_token: bool = False) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds
        self.is_about_token = is_about_token


@dataclass(frozen=True, slots=True)
class Limits:
    """How long one question may take, and how large its answer may be."""

    timeout_seconds: float
    max_bytes: int


class IntrospectionEndpoint:
    """Where an issuer answers, and as which client we ask.

    Without `url` the issuer's metadata name it (RFC 8414 §2), and for a client with a certificate its alias (RFC 8705
    §5). Each question is a connection of its own, so that nothing is bound to an event loop.
    """

    def __init__(
        self,
        rules: Generic,
        authentication: ClientAuthentication,
        *,
        url: str | None,
        limits: Limits,
        transport: TransportFactory | None,
        clock: Clock,
    ) -> None:
        if url is not None:
            check_url(url, allow_loopback_http=rules.allow_loopback_http, what="introspection endpoint")
        self._rules = rules
        self._authentication = authentication
        self._url = url
        self._limits = limits
        self._clock = clock
        self._outgoing = Outgoing(
            transport=transport,
            timeout_seconds=limits.timeout_seconds,
            allow_loopback_http=rules.allow_loopback_http,
        )
        self._fetcher = DocumentFetcher(
            transport=transport,
            timeout_seconds=limits.timeout_seconds,
            max_bytes=limits.max_bytes,
            allow_loopback_http=rules.allow_loopback_http,
        )
        self._discovered: tuple[str, float] | None = None
        self._discovery: SingleFlight[None, str] = SingleFlight()

    async def ask(self, token: str) -> Mapping[str, Any]:
        """Return the answer, in which `active` is True or False. Raises `NoAnswer`. RFC 7662 §2.1, §2.2."""
        try:
            async with asyncio.timeout(self._limits.timeout_seconds):
                return await self._ask(token)
        except TimeoutError as error:
            raise NoAnswer(f"no answer within {self._limits.timeout_seconds:g} s") from error
        except FetchFailed as error:
            raise NoAnswer(f"discovery: {error}") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError, ValueError) as error:
            trouble = f"{type(error).__name__}: {error}"
        # Without a context: the client's own exceptions hold the request, and with it the token and our credentials.
        raise NoAnswer(trouble)

    async def _ask(self, token: str) -> Mapping[str, Any]:
        # May read files or make a signature: not on the event loop.
        tls = await asyncio.to_thread(self._authentication.tls)
        url = self._url or await self._find_url(tls)
        addressee = Addressee(self._rules.issuer, url, self._clock())
        proof = await asyncio.to_thread(self._authentication.prove, addressee)
        fields = [("token", token), ("token_type_hint", "access_token"), *proof.fields]
        # What the metadata named gets a token and our credentials: it may lead no further than the keys' address.
        named_by = self._rules.metadata_url if self._url is None else None
        async with await self._outgoing.client(url, named_by=named_by, tls=tls) as client:
            return await self._exchange(client, url, fields, proof)

    async def _exchange(
        self, client: httpx2.AsyncClient, url: str, fields: list[tuple[str, str]], proof: Proof
    ) -> Mapping[str, Any]:
        headers = {
            **proof.headers,
            "Accept": "application/json",
            # Compressed answers could unfold far beyond the size cap.
            "Accept-Encoding": "identity",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        async with client.stream("POST", url, headers=headers, content=urlencode(fields).encode()) as response:
            if response.status_code != 200:
                if response.status_code in _GONE:
                    self._discovered = None  # it may have moved: the metadata know
                wait = find_retry_after(response.headers, self._clock())
                raise NoAnswer(
                    f"status {response.status_code}",
                    retry_after_seconds=wait,
                    is_about_token=response.status_code in _ABOUT_ONE_TOKEN,
                )
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise NoAnswer("a compressed answer")
            return _parse(await self._read(response))

    async def _read(self, response: httpx2.Response) -> bytes:
        body = bytearray()
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > self._limits.max_bytes:
                raise NoAnswer(f"more than {self._limits.max_bytes} bytes")
        return bytes(body)

    async def _find_url(self, tls: ssl.SSLContext | None) -> str:
        if self._discovered is not None and is_within(self._discovered[1], _DISCOVERY_KEPT_SECONDS, self._clock()):
            return self._discovered[0]
        return await self._discovery.join(None, lambda: self._discover(tls is not None))

    async def _discover(self, with_certificate: bool) -> str:
        metadata = (await self._fetcher.fetch(self._rules.metadata_url)).content or {}
        if metadata.get("issuer") != self._rules.metadata_issuer:
            raise NoAnswer("the discovery document is for another issuer")
        aliases = metadata.get("mtls_endpoint_aliases")
        found = aliases.get("introspection_endpoint") if with_certificate and isinstance(aliases, Mapping) else None
        found = metadata.get("introspection_endpoint") if found is None else found
        if not isinstance(found, str):
            raise NoAnswer("the discovery document names no introspection_endpoint")
        check_url(found, allow_loopback_http=self._rules.allow_loopback_http, what="introspection endpoint")
        self._discovered = found, self._clock()
        return found


def _parse(body: bytes) -> Mapping[str, Any]:
    try:
        answer = parse_json_object(body)
    except MalformedJson as error:
        raise NoAnswer(str(error)) from error
    if not isinstance(answer.get("active"), bool):
        raise NoAnswer("an answer without active")
    return answer
