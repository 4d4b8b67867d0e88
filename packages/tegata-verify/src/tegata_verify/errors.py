"""Why a request may not proceed, and how that is said to its sender (RFC 6750 §3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """The exact cause of a refusal: for logs and metric labels, never part of a response."""

    NO_TOKEN = "no_token"
    MALFORMED_AUTHORIZATION = "malformed_authorization"
    REPEATED_AUTHORIZATION = "repeated_authorization"
    TOKEN_IN_QUERY = "token_in_query"
    TOKEN_TOO_LARGE = "token_too_large"
    MALFORMED_TOKEN = "malformed_token"
    DUPLICATE_MEMBER = "duplicate_member"
    CRITICAL_HEADER = "critical_header"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_ISSUER = "unknown_issuer"
    MISSING_KID = "missing_kid"
    UNKNOWN_KEY = "unknown_key"
    WRONG_KEY = "wrong_key"
    BAD_SIGNATURE = "bad_signature"
    WRONG_AUDIENCE = "wrong_audience"
    MISSING_CLAIM = "missing_claim"
    MALFORMED_CLAIM = "malformed_claim"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    WRONG_TOKEN_USE = "wrong_token_use"
    WRONG_CLIENT = "wrong_client"
    WRONG_TENANT = "wrong_tenant"
    WRONG_SIGNER = "wrong_signer"
    WRONG_SUBJECT = "wrong_subject"
    UNTRUSTED_PEER = "untrusted_peer"
    INACTIVE = "inactive"
    BOUND_TOKEN = "bound_token"
    NOT_BOUND = "not_bound"
    UNKNOWN_BINDING = "unknown_binding"
    WRONG_SCHEME = "wrong_scheme"
    WRONG_CERTIFICATE = "wrong_certificate"
    REPEATED_CERTIFICATE = "repeated_certificate"
    MISSING_PROOF = "missing_proof"
    MALFORMED_PROOF = "malformed_proof"
    WRONG_PROOF = "wrong_proof"
    REPLAYED_PROOF = "replayed_proof"
    MISSING_NONCE = "missing_nonce"
    WRONG_NONCE = "wrong_nonce"
    MISSING_SCOPE = "missing_scope"
    MISSING_ROLE = "missing_role"
    MISSING_PERMISSION = "missing_permission"
    NOT_IN_POLICY = "not_in_policy"
    WEAK_AUTHENTICATION = "weak_authentication"
    OLD_AUTHENTICATION = "old_authentication"
    KEYS_UNAVAILABLE = "keys_unavailable"
    INTROSPECTION_UNAVAILABLE = "introspection_unavailable"
    MEMORY_UNAVAILABLE = "memory_unavailable"


class AccessError(Exception):
    """The request may not proceed. `reason` and `detail` are for logs; the sender sees `code` and `description`."""

    status: ClassVar[int]
    code: ClassVar[str | None] = None
    description: str

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class MissingToken(AccessError):
    """No bearer token came with the request: 401 and a challenge without an error code. RFC 6750 §3.1."""

    status = 401
    description = "An access token is required"

    def __init__(self, detail: str = "") -> None:
        super().__init__(Reason.NO_TOKEN, detail)


class InvalidRequest(AccessError):
    """The token was sent in a way that is not allowed: 400 `invalid_request`. RFC 6750 §3.1."""

    status = 400
    code = "invalid_request"
    description = "Send one access token, in one Authorization header"


class TokenError(AccessError):
    """The token is not good here: 401 `invalid_token`. RFC 6750 §3.1.

    Expiry alone is told to the client, which can act on it; any other difference would only help an attacker.
    """

    status = 401
    code = "invalid_token"

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        expired = reason is Reason.EXPIRED
        self.description = "The access token expired" if expired else "The access token is not valid for this service"


class InsufficientScope(AccessError):
    """The token is good, the act is not covered by it: 403 `insufficient_scope`. RFC 6750 §3.1.

    `scopes` is what the client should ask for; it is empty where more scope would not help (a missing role).
    """

    status = 403
    code = "insufficient_scope"
    description = "The access token does not allow this"

    def __init__(self, reason: Reason, scopes: Iterable[str] = (), detail: str = "") -> None:
        super().__init__(reason, detail)
        self.scopes = tuple(scopes)


class InsufficientUserAuthentication(AccessError):
    """The token is good, the act wants a stronger or fresher login: 401 and what to ask for. RFC 9470 §3."""

    status = 401
    code = "insufficient_user_authentication"
    description = "A stronger or more recent login is required"

    def __init__(
        self, reason: Reason, *, acr_values: Iterable[str] = (), max_age: int | None = None, detail: str = ""
    ) -> None:
        super().__init__(reason, detail)
        self.acr_values = tuple(acr_values)
        self.max_age = max_age


class InvalidDpopProof(AccessError):
    """The DPoP proof is missing or not good: 401 `invalid_dpop_proof`. RFC 9449 §7.1."""

    status = 401
    code = "invalid_dpop_proof"
    description = "The DPoP proof is not valid for this request"


class UseDpopNonce(AccessError):
    """The DPoP proof must carry the nonce that comes with this answer: 401 `use_dpop_nonce`. RFC 9449 §9."""

    status = 401
    code = "use_dpop_nonce"
    description = "The DPoP proof needs the nonce of this answer"

    def __init__(self, reason: Reason, nonce: str) -> None:
        super().__init__(reason)
        self.nonce = nonce


class KeysUnavailable(AccessError):
    """The issuer cannot be asked now, so nothing can be said about the token: 503. RFC 9110 §10.2.3."""

    status = 503
    code = "temporarily_unavailable"
    description = "Access tokens cannot be checked at the moment"

    def __init__(self, retry_after_seconds: int, detail: str = "", *, reason: Reason = Reason.KEYS_UNAVAILABLE) -> None:
        super().__init__(reason, detail)
        self.retry_after_seconds = max(1, retry_after_seconds)


@dataclass(frozen=True, slots=True)
class Challenges:
    """What every challenge of one service says, whatever the refusal.

    `resource_metadata` is the address of the service's metadata (RFC 9728 §5.1). With `dpop_algorithms` a challenge for
    DPoP is sent too (RFC 9449 §7.1); with `only_dpop` it is the only one, because no other token is taken.

    >>> Challenges(realm="beers").headers(MissingToken())
    [('WWW-Authenticate', 'Bearer realm="beers"')]
    """

    realm: str = "api"
    resource_metadata: str | None = None
    dpop_algorithms: tuple[str, ...] = ()
    only_dpop: bool = False

    def headers(self, error: AccessError) -> list[tuple[str, str]]:
        """Return the `WWW-Authenticate` fields for `error`, and the nonce it hands out."""
        attributes = self._attributes(error)
        found = []
        is_about_dpop = isinstance(error, InvalidDpopProof | UseDpopNonce)
        if not (self.only_dpop or is_about_dpop):
            found.append(("WWW-Authenticate", _challenge("Bearer", attributes)))
        if self.dpop_algorithms:
            attributes |= {"algs": " ".join(self.dpop_algorithms)}
            found.append(("WWW-Authenticate", _challenge("DPoP", attributes)))
        if isinstance(error, UseDpopNonce):
            found.append(("DPoP-Nonce", error.nonce))
        return found

    def _attributes(self, error: AccessError) -> dict[str, str]:
        attributes = {"realm": self.realm}
        if error.code is not None:
            attributes |= {"error": error.code, "error_description": error.description}
        if isinstance(error, InsufficientScope) and error.scopes:
            attributes["scope"] = " ".join(error.scopes)
        if isinstance(error, InsufficientUserAuthentication):
            if error.acr_values:
                attributes["acr_values"] = " ".join(error.acr_values)
            if error.max_age is not None:
                attributes["max_age"] = str(error.max_age)
        if self.resource_metadata is not None:
            attributes["resource_metadata"] = self.resource_metadata
        return attributes


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer in no framework's terms. A header may be there twice."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: dict[str, str]


def build_refusal(error: AccessError, challenges: Challenges) -> Refusal:
    """Build the HTTP answer for `error`. RFC 6750 §3, RFC 9110 §11.6.1."""
    headers = [("Cache-Control", "no-store")]
    if isinstance(error, KeysUnavailable):
        headers.append(("Retry-After", str(error.retry_after_seconds)))
    else:
        headers += challenges.headers(error)
    body = {"error_description": error.description}
    if error.code is not None:
        body = {"error": error.code, **body}
    return Refusal(error.status, tuple(headers), body)


def _challenge(scheme: str, attributes: dict[str, str]) -> str:
    return f"{scheme} " + ", ".join(f'{name}="{quotable(value)}"' for name, value in attributes.items())


def quotable(value: str) -> str:
    """Keep the characters that RFC 6750 §3 allows inside a quoted attribute.

    Quotes and backslashes are outside that set even escaped; line ends would start another header.
    """
    return "".join(c for c in value if " " <= c <= "~" and c not in '"\\')
