"""What a browser carries between requests, and what a flow answers to it. No HTTP: cookies and pages are web's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tegata.crypto.digests import base64url, digest_of, keyed_digest
from tegata.identifiers import Digest
from tegata.protocol.authorization_request import AnswerTo, AuthorizationRequest
from tegata.protocol.client import Client
from tegata.storage.records import FoundSession


@dataclass(frozen=True, slots=True)
class Browser:
    """The secrets of one browser at one tenant, as it sent them."""

    session_secret: str | None = field(default=None, repr=False)
    csrf_secret: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)

    @property
    def session_digest(self) -> Digest | None:
        return Digest(digest_of(self.session_secret)) if self.session_secret else None


@dataclass(frozen=True, slots=True)
class Answer:
    """The authorization response: parameters for the client, to be sent as its response mode says."""

    target: AnswerTo
    parameters: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NeedsPage:
    """A page has to be shown before the request can be answered. `handle` names the stored request."""

    kind: Literal["sign_in", "choose_account", "consent"]
    handle: str = field(repr=False)
    request: AuthorizationRequest
    client: Client
    found: FoundSession | None
    reason: str


def csrf_token(csrf_secret: str, purpose: str) -> str:
    """Return the token that a form for `purpose` must send back: bound to this browser and this form."""
    return base64url(keyed_digest(csrf_secret.encode(), "csrf", purpose))
