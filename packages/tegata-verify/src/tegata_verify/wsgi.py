"""What a guard needs to know of a WSGI request (PEP 3333), for the front ends that stand on WSGI."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from tegata_verify.guard import SyncGuard
from tegata_verify.permissions import Requirement
from tegata_verify.principal import Principal
from tegata_verify.request import HttpRequest

_KNOWN = "tegata_verify.known"  # a client's headers become names that begin with HTTP_


def authorize(
    guard: SyncGuard, environ: MutableMapping[str, Any], request: HttpRequest, requirement: Requirement
) -> Principal:
    """Return who acts with a request; several who ask the same guard about one are told of one decision.

    Raises an `AccessError`. What a proof or an issuer says is judged once, each requirement by itself. An environment
    that was copied for another request, as for the parts of a batch, says nothing about that one.
    """
    decided_by, decided, principal = environ.get(_KNOWN, (None, None, None))
    if decided_by is guard and decided == request:
        guard.permit(principal, request, requirement)
    else:
        principal = guard.authorize(request, requirement)
        environ[_KNOWN] = guard, request, principal
    found: Principal = principal
    return found


def describe(environ: Mapping[str, Any]) -> HttpRequest:
    """Return the request of a WSGI environment, or of Django's `META`.

    WSGI joins repeated headers by commas: two tokens make a malformed one. It also cannot tell `X-A` from `X_A`: behind
    a load balancer whose headers are trusted, the server has to drop names with underscores, as gunicorn does.

    >>> request = describe({"REQUEST_METHOD": "GET", "PATH_INFO": "/beers", "HTTP_HOST": "api.example.com",
    ...     "wsgi.url_scheme": "https", "HTTP_AUTHORIZATION": "Bearer abc", "REMOTE_ADDR": "10.0.0.7"})
    >>> request.url, request.values(b"authorization"), request.peer
    ('https://api.example.com/beers', [b'Bearer abc'], '10.0.0.7')
    """
    headers = tuple(
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    )
    # Paths come as the bytes that were sent, each as one character.
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1", "replace")
    raw_path = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    return HttpRequest(
        method=environ.get("REQUEST_METHOD", "GET"),
        url=f"{environ.get('wsgi.url_scheme', 'http')}://{environ.get('HTTP_HOST', '')}{quote(path, safe='/')}",
        headers=headers,
        query_string=environ.get("QUERY_STRING", "").encode("latin-1", "replace"),
        peer=environ.get("REMOTE_ADDR") or None,
        raw_path=raw_path.encode("latin-1", "replace") if isinstance(raw_path, str) else None,
    )
