"""Django front end: a decorator for views, plain and async; the principal is `request.principal`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any

from django.http import HttpRequest as DjangoRequest
from django.http import HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.urls import URLPattern, URLResolver, get_resolver, path

from tegata_verify import asgi, wsgi
from tegata_verify.errors import AccessError
from tegata_verify.guard import Guard, SyncGuard
from tegata_verify.permissions import build_requirement
from tegata_verify.request import HttpRequest

View = Callable[..., Any]

_ASKS = "asks_for_a_token"  # decorators that keep a view's attributes, as functools.wraps does, keep this one


class Access:
    """Guards views. A `SyncGuard` serves plain and async views, a `Guard` async ones only.

    Class-based views: `@method_decorator(access.requires(scope="read"), name="dispatch")`. With a guard that
    describes the service (RFC 9728) put `*access.urls()` into the `urlpatterns` of the root.

    >>> from tegata_verify.testing import TestIssuer
    >>> access = Access(SyncGuard(TestIssuer().verifier()))
    >>> @access.requires(scope="read")
    ... def beers(request):
    ...     return JsonResponse({"caller": request.principal.subject})
    """

    def __init__(self, guard: Guard | SyncGuard) -> None:
        self.guard = guard

    def requires(self, **needed: Any) -> Callable[[View], View]:
        """Return a decorator; the arguments are those of `build_requirement`. Raises `TypeError` for a wrong guard."""
        requirement = build_requirement(**needed)

        def decorate(view: View) -> View:
            if inspect.iscoroutinefunction(view):
                return self._guard_async(view, requirement)
            if isinstance(self.guard, Guard):
                raise TypeError("a plain view needs a SyncGuard")
            return self._guard_plain(view, requirement, self.guard)

        return decorate

    def urls(self) -> list[URLPattern]:
        """Return the address of the guard's description of the service, nothing if it has none. RFC 9728 §3.1."""
        resource = self.guard.parts.resource
        return [] if resource is None else [path(resource.metadata_path.lstrip("/"), self._describe_service)]

    def _describe_service(self, request: DjangoRequest) -> HttpResponse:
        description = self.guard.describe(request.path)
        if description is None or request.method not in ("GET", "HEAD", "OPTIONS"):
            return HttpResponseNotAllowed(["GET", "HEAD", "OPTIONS"])
        return HttpResponse(description.body, headers=dict(description.headers))

    def _guard_plain(self, view: View, requirement: Any, guard: SyncGuard) -> View:
        @wraps(view)
        def guarded(request: DjangoRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            described = describe(request)
            try:
                request.principal = wsgi.authorize(guard, request.META, described, requirement)
                response: HttpResponse = view(request, *args, **kwargs)
            except AccessError as error:
                return self._refuse(error)
            return self._add_headers(response, described)

        setattr(guarded, _ASKS, True)
        return guarded

    def _guard_async(self, view: View, requirement: Any) -> View:
        @wraps(view)
        async def guarded(request: DjangoRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            described = describe(request)
            try:
                if isinstance(self.guard, Guard):
                    request.principal = await asgi.authorize(self.guard, request.META, described, requirement)
                else:
                    request.principal = await asyncio.to_thread(
                        wsgi.authorize, self.guard, request.META, described, requirement
                    )
                response: HttpResponse = await view(request, *args, **kwargs)
            except AccessError as error:
                return self._refuse(error)
            return self._add_headers(response, described)

        setattr(guarded, _ASKS, True)
        return guarded

    def _refuse(self, error: AccessError) -> HttpResponse:
        refusal = self.guard.refuse(error)
        response = JsonResponse(refusal.body, status=refusal.status)
        # Django keeps one value for each name; challenges may stand in one field. RFC 9110 §11.6.1.
        for name, value in refusal.headers:
            response[name] = f"{response[name]}, {value}" if name in response else value
        return response

    def _add_headers(self, response: HttpResponse, described: HttpRequest) -> HttpResponse:
        for name, value in self.guard.answer_headers(described):
            response[name] = value
        return response


def find_open_endpoints(urlconf: str | None = None) -> list[str]:
    """Return the addresses that are answered without asking for a token, such as `health`; for a test of your own.

    Without `urlconf` those of the setting `ROOT_URLCONF`. The description of the service is left out.
    """
    return sorted(_find_open(get_resolver(urlconf).url_patterns, ""))


def _find_open(patterns: Iterable[URLPattern | URLResolver], prefix: str) -> Iterator[str]:
    for pattern in patterns:
        place = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from _find_open(pattern.url_patterns, place)
            continue
        is_ours = getattr(pattern.callback, "__func__", None) is Access._describe_service
        if not (is_ours or getattr(pattern.callback, _ASKS, False)):
            yield place


def describe(request: DjangoRequest) -> HttpRequest:
    """Return what a guard needs to know of a request, under WSGI or ASGI."""
    scope = getattr(request, "scope", None)
    if scope is not None:
        return asgi.describe(scope)
    # Django has decoded both in place; WSGI has them as the bytes that were sent, each as one character. PEP 3333.
    sent = {name: request.META.get(name, "").encode().decode("latin-1") for name in ("SCRIPT_NAME", "PATH_INFO")}
    return wsgi.describe(request.META | sent)
