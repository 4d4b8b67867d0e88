"""Flask front end: a decorator beside each view; the principal is `flask.g.principal`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import Flask, Response, g, jsonify, request

from tegata_verify.errors import AccessError
from tegata_verify.guard import SyncGuard
from tegata_verify.permissions import build_requirement
from tegata_verify.wsgi import authorize, describe

View = TypeVar("View", bound=Callable[..., Any])

_ASKS = "asks_for_a_token"  # decorators that keep a view's attributes, as functools.wraps does, keep this one


class Access:
    """Guards views of Flask applications. `install` answers the refusals and serves the guard's description.

    >>> from tegata_verify.testing import TestIssuer
    >>> access, app = Access(SyncGuard(TestIssuer().verifier())), Flask("beers")
    >>> access.install(app)
    >>> @app.get("/beers")
    ... @access.requires(scope="read")
    ... def beers():
    ...     return [g.principal.subject]
    >>> app.test_client().get("/beers").status_code
    401
    """

    def __init__(self, guard: SyncGuard) -> None:
        self.guard = guard

    def install(self, app: Flask) -> None:
        """Answer refusals in this application, also those that views raise themselves; serve the guard's description.

        An application that is mounted below a path cannot serve it: its address is counted from the host's root.
        """
        app.register_error_handler(AccessError, self._refuse)
        resource = self.guard.parts.resource
        if resource is not None:
            app.add_url_rule(
                resource.metadata_path,
                "tegata_verify.description",
                self._describe_service,
                methods=["GET", "OPTIONS"],
                provide_automatic_options=False,
            )

    def requires(self, **needed: Any) -> Callable[[View], View]:
        """Return a decorator; the arguments are those of `build_requirement`. It stands below the route's."""
        requirement = build_requirement(**needed)

        def decorate(view: View) -> View:
            @wraps(view)
            def guarded(*args: Any, **kwargs: Any) -> Any:
                from flask import after_this_request, current_app

                described = describe(request.environ)
                g.principal = authorize(self.guard, request.environ, described, requirement)
                for name, value in self.guard.answer_headers(described):
                    after_this_request(_setting(name, value))
                return current_app.ensure_sync(view)(*args, **kwargs)

            setattr(guarded, _ASKS, True)
            return guarded  # type: ignore[return-value]  # wraps keeps what the view shows

        return decorate

    def _describe_service(self) -> Response:
        description = self.guard.describe(request.path)
        assert description is not None
        return Response(description.body, headers=dict(description.headers))

    def _refuse(self, error: AccessError) -> Response:
        refusal = self.guard.refuse(error)
        answer = jsonify(refusal.body)
        answer.status_code = refusal.status
        for name, value in refusal.headers:
            answer.headers.add(name, value)
        return answer


def find_open_endpoints(app: Flask) -> list[str]:
    """Return what an application answers without asking for a token, such as `GET /health`; for a test of your own.

    Its static files and the description of the service are left out.
    """
    found = []
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        is_ours = getattr(view, "__func__", None) is Access._describe_service
        if not (is_ours or rule.endpoint == "static" or getattr(view, _ASKS, False)):
            methods = " ".join(sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}))
            found.append(f"{methods or 'ANY'} {rule.rule}")
    return sorted(found)


def _setting(name: str, value: str) -> Callable[[Response], Response]:
    def set_header(response: Response) -> Response:
        response.headers[name] = value
        return response

    return set_header
