"""Lambda authorizers for Amazon API Gateway: REST APIs (TOKEN and REQUEST) and HTTP APIs (payload 2.0, simple answers).

A REST API keeps an authorizer's answer for each identity source (the token) and applies it to *other* methods, too. The
policies here name the one method that was asked for, so that a cached one refuses the others rather than letting a
reader write: set the authorizer's caching to 0 seconds, or add method and path to the identity sources
(`context.httpMethod`, `context.path`). Never widen a policy to `*`. A path that a policy would read as a pattern, as
one with `*` in it, is denied.

An HTTP API keeps a simple answer in the same way, and applies it to every route: leave its caching at 0 seconds.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes

from tegata_verify.errors import AccessError, InsufficientScope, KeysUnavailable, Reason
from tegata_verify.guard import ANYBODY, SyncGuard
from tegata_verify.path_rules import PathRules
from tegata_verify.permissions import Requirement
from tegata_verify.principal import Principal
from tegata_verify.request import HttpRequest

Event = Mapping[str, Any]

_PATTERN = re.compile(r"[*?]|\$\{")  # what IAM reads in a policy's resource: wildcards and variables


class Unauthorized(Exception):
    """Becomes 401 in a REST API: API Gateway compares the text, to the letter."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class LambdaAuthorizer:
    """Answers authorizer events: `handler = LambdaAuthorizer(guard, rules)`.

    `needed` is one requirement for everything, or `PathRules` over the request's path; an event of kind TOKEN has no
    path of its own, so its path and method are read from the method's ARN. An HTTP API's path begins with the stage,
    unless that is `$default`. The caller's facts are in the answer's `context`: `sub`, `client_id`, `tenant`, `issuer`,
    `scope`, `roles`.

    >>> from tegata_verify.testing import TestIssuer
    >>> issuer = TestIssuer()
    >>> handler = LambdaAuthorizer(SyncGuard(issuer.verifier()))
    >>> arn = "arn:aws:execute-api:eu-west-1:123456789012:abc/prod/GET/beers"
    >>> event = {"type": "TOKEN", "authorizationToken": f"Bearer {issuer.mint()}", "methodArn": arn}
    >>> handler(event, None)["policyDocument"]["Statement"][0]["Effect"]
    'Allow'
    """

    def __init__(self, guard: SyncGuard, needed: Requirement | PathRules = ANYBODY) -> None:
        self._guard = guard
        self._needed = needed

    def __call__(self, event: Event, context: object) -> dict[str, Any]:
        """Return an IAM policy or a simple answer. Raises `Unauthorized`; any other error becomes status 500.

        To an HTTP API a bad token is answered like one that does not suffice, with status 403: the simple answer knows
        no other, and an error of the authorizer became status 500 in a stand-in. Where the `Authorization` header is
        the identity source, a request without it is answered with 401 before the authorizer is asked.
        """
        is_simple = event.get("version") == "2.0"
        try:
            principal = self._authorize(describe(event), find_root_paths(event))
            if not is_simple and _PATTERN.search(event["methodArn"]):
                raise InsufficientScope(Reason.MISSING_PERMISSION, detail="the path would be a pattern in a policy")
        except InsufficientScope as error:
            self._guard.refuse(error)
            return {"isAuthorized": False} if is_simple else build_policy("caller", "Deny", event["methodArn"], {})
        except KeysUnavailable:
            raise  # nothing can be said about the token: 500, and the caller may come again
        except AccessError as error:
            self._guard.refuse(error)
            refused = True
        else:
            refused = False
        if refused and is_simple:
            return {"isAuthorized": False}
        if refused:
            raise Unauthorized
        facts = build_context(principal)
        if is_simple:
            return {"isAuthorized": True, "context": facts}
        return build_policy(principal.subject, "Allow", event["methodArn"], facts)

    def _authorize(self, request: HttpRequest, root_paths: Collection[str]) -> Principal:
        if not isinstance(self._needed, PathRules):
            return self._guard.authorize(request, self._needed)
        raw_path = request.raw_path or b""
        path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
        requirement = self._needed.find(request.method, path, raw_path, root_paths=root_paths)
        principal = self._guard.authorize(request, ANYBODY if requirement is None else requirement)
        if requirement is None:
            raise InsufficientScope(Reason.MISSING_PERMISSION, detail="no rule for this path and method")
        return principal


def describe(event: Event) -> HttpRequest:
    """Return what a guard needs to know of an authorizer's event."""
    if event.get("version") == "2.0":
        http = event["requestContext"]["http"]
        host, path = event["requestContext"].get("domainName", ""), event.get("rawPath", "/")
        headers, method, peer = _headers(event.get("headers")), http["method"], http.get("sourceIp")
        return _request(method, (host, path), headers, event.get("rawQueryString", ""), peer)
    if event.get("type") == "TOKEN":
        _, _, method, path = [*event["methodArn"].split("/", 3), "", "", ""][:4]
        token = str(event.get("authorizationToken", "")).encode("latin-1", "replace")
        return _request(method, ("", f"/{path}"), ((b"authorization", token),) if token else (), "", None)
    headers = _headers(event.get("multiValueHeaders") or event.get("headers"))
    asked = event.get("requestContext") or {}
    peer = (asked.get("identity") or {}).get("sourceIp")
    query = "&".join(quote(name) for name in event.get("queryStringParameters") or {})
    return _request(event["httpMethod"], (asked.get("domainName", ""), event["path"]), headers, query, peer)


def find_root_paths(event: Event) -> Collection[str]:
    """Return what a path may begin with that is no part of the method's own: stage, and a domain name's base path."""
    path = unquote(event.get("path") or event.get("rawPath") or "").rstrip("/")
    arn = event.get("methodArn") or event.get("routeArn") or ""
    own = unquote(f"/{[*arn.split('/', 3), '', '', ''][3]}").rstrip("/")
    stage = (event.get("requestContext") or {}).get("stage")
    return [path.removesuffix(own) if own and path.endswith(own) else "", f"/{stage}" if stage else ""]


def build_policy(caller: str, effect: str, method_arn: str, facts: Mapping[str, str]) -> dict[str, Any]:
    """Build a policy for the one method that was asked for."""
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": method_arn}
    return {
        "principalId": caller,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": dict(facts),
    }


def build_context(principal: Principal) -> dict[str, str]:
    """Build what the service behind is told: texts only, as API Gateway wants them."""
    facts = {
        "sub": principal.subject,
        "client_id": principal.client_id,
        "tenant": principal.tenant,
        "issuer": principal.issuer,
        "scope": " ".join(sorted(principal.scopes)),
        "roles": " ".join(sorted(principal.roles)),
    }
    return {name: value for name, value in facts.items() if value}


def _request(
    method: str, address: tuple[str, str], headers: tuple[tuple[bytes, bytes], ...], query: str, peer: str | None
) -> HttpRequest:
    host, path = address
    url = f"https://{host}{quote(path, safe='/%')}"
    return HttpRequest(method, url, headers, query.encode("latin-1", "replace"), peer, path.encode("utf-8", "replace"))


def _headers(headers: Mapping[str, Any] | None) -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (name.lower().encode("latin-1", "replace"), str(value).encode("latin-1", "replace"))
        for name, values in (headers or {}).items()
        for value in (values if isinstance(values, list) else [values])
    )
