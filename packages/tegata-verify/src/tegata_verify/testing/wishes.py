"""What a test can wish for in a token: who acts with what, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any, Protocol, TypedDict


class Flaw(StrEnum):
    """One thing that is wrong with an otherwise good token; each is refused with status 401.

    `TestIssuer.flaws` are those that an issuer's tokens can have.

    >>> Flaw("expired")
    <Flaw.EXPIRED: 'expired'>
    """

    EXPIRED = "expired"
    """`exp` is an hour ago."""

    NOT_YET_VALID = "not_yet_valid"
    """`nbf` is in an hour."""

    OTHER_AUDIENCE = "other_audience"
    """For another service."""

    OTHER_CLIENT = "other_client"
    """Issued to a client that is not on the list; `ValueError` where the rules have no list."""

    OTHER_ISSUER = "other_issuer"
    """In the name of a stranger, with a key of ours; `ValueError` where the rules name no issuer."""

    WRONG_SIGNATURE = "wrong_signature"
    """Signed by somebody else's key, under the name of ours."""

    UNKNOWN_KEY = "unknown_key"
    """Signed by a key that is not published."""

    NO_KID = "no_kid"
    """Does not say which of the published keys has signed."""

    UNSIGNED = "unsigned"
    """`alg` is `none`, and there is no signature."""

    ID_TOKEN = "id_token"
    """The ID token of the same login. OIDC Core §2."""


class Holder(Protocol):
    """To what a token can be bound: `TestDpopKey`, `TestCertificate`, or what has such a member."""

    @property
    def confirmation(self) -> Mapping[str, str]:
        """The claim `cnf`. RFC 7800 §3.1."""


class Wish(TypedDict, total=False):
    """What `TestIssuer.mint` and `TestIssuer.headers` take, all of it optional.

    `client_id` is by default the first of the clients that the rules allow. With `service` the client acts for itself,
    with `opaque` the token is no JWT and only `TestIssuer.introspection` knows what it means.
    `permissions` need a place in the issuer's tokens, as Auth0's have. `bound_to` is a `TestDpopKey` or a
    `TestCertificate`. `flaw` is a `Flaw` or its text. `claims` and `header` are laid over the rest; None takes a
    member away.

    >>> from tegata_verify.testing import TestIssuer
    >>> reader: Wish = {"scope": "read", "roles": ["viewer"]}
    >>> list(TestIssuer().headers(**reader))
    ['Authorization']
    """

    subject: str
    client_id: str | None
    scope: str | Collection[str]
    roles: Collection[str]
    permissions: Collection[str]
    audience: str | list[str] | None
    lifetime_seconds: float
    service: bool
    opaque: bool
    bound_to: Holder | None
    flaw: Flaw | str | None
    claims: Mapping[str, Any] | None
    header: Mapping[str, Any] | None
