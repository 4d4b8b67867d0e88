"""The protocol's back-channel endpoints: HTTP in, flow, HTTP out. Nothing is decided here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tegata.api.errors import render_json
from tegata.api.http import NOSNIFF, Request, Response, json_response
from tegata.api.routes import Route
from tegata.api.traces import tell_error
from tegata.flows import introspect, revoke, userinfo
from tegata.flows.admin.key_times import JWKS_MAX_AGE_SECONDS
from tegata.flows.directory import Document, LoadedTenant
from tegata.flows.services import Services
from tegata.flows.token import endpoint as token
from tegata.protocol import bearer
from tegata.protocol.errors import OAuthError, invalid_request
from tegata.protocol.parameters import Parameters

_PUBLIC_SECONDS = 300


@dataclass(frozen=True, slots=True)
class OAuthEndpoints:
    """The handlers, bound to the services of one server."""

    services: Services
    jwks_seconds: int = JWKS_MAX_AGE_SECONDS

    def routes(self) -> dict[str, Route]:
        """Return the endpoints by path below the tenant."""
        metadata = Route({"GET": self.metadata}, render_json, cross_origin=True)
        return {
            "token": Route({"POST": self.token}, render_json, cross_origin=True),
            "introspect": Route({"POST": self.introspect}, render_json, cross_origin=True),
            "revoke": Route({"POST": self.revoke}, render_json, cross_origin=True),
            "userinfo": Route({"GET": self.userinfo, "POST": self.userinfo}, render_json, cross_origin=True),
            "jwks": Route({"GET": self.jwks}, render_json, cross_origin=True),
            ".well-known/openid-configuration": metadata,
            ".well-known/oauth-authorization-server": metadata,
        }

    async def token(self, request: Request, loaded: LoadedTenant) -> Response:
        """RFC 6749 §3.2."""
        parameters = await _form(request)
        answer = await token.exchange(
            self.services, loaded, request.header(b"authorization"), parameters, request.origin
        )
        return json_response(answer)

    async def introspect(self, request: Request, loaded: LoadedTenant) -> Response:
        """RFC 7662 §2.1."""
        parameters = await _form(request)
        answer = await introspect.introspect(self.services, loaded, request.header(b"authorization"), parameters)
        return json_response(answer)

    async def revoke(self, request: Request, loaded: LoadedTenant) -> Response:
        """RFC 7009 §2.1."""
        parameters = await _form(request)
        await revoke.revoke(self.services, loaded, request.header(b"authorization"), parameters, request.origin)
        return json_response({})

    async def userinfo(self, request: Request, loaded: LoadedTenant) -> Response:
        """OIDC Core §5.3; errors in the form of RFC 6750 §3."""
        return await _challenged(request, loaded, lambda: self._userinfo(request, loaded))

    async def _userinfo(self, request: Request, loaded: LoadedTenant) -> Response:
        if b"access_token=" in request.scope["query_string"]:
            raise invalid_request("an access token in the query is not accepted", "token_in_query")
        form = await request.form() if request.method == "POST" and request.has_form() else None
        claims = await userinfo.userinfo(self.services, loaded, request.header(b"authorization"), form)
        return json_response(claims)

    async def jwks(self, request: Request, loaded: LoadedTenant) -> Response:
        """RFC 7517 §5."""
        return _public(request, loaded.jwks, b"application/jwk-set+json", self.jwks_seconds)

    async def metadata(self, request: Request, loaded: LoadedTenant) -> Response:
        """RFC 8414 §3.2, OIDC Discovery §4.2: one document behind every well-known address."""
        return _public(request, loaded.metadata, b"application/json")


async def _form(request: Request) -> Parameters:
    if request.scope["query_string"]:
        # RFC 6749 §2.3.1 and §3.2: credentials and parameters belong into the body, not into logs of addresses.
        raise invalid_request("parameters belong into the body", "parameters_in_query")
    return await request.form()


async def _challenged(request: Request, loaded: LoadedTenant, answer: Callable[[], Awaitable[Response]]) -> Response:
    """Add the Bearer challenge to a refusal (RFC 6750 §3)."""
    try:
        return await answer()
    except OAuthError as error:
        if error.status not in {400, 401, 403}:
            raise
        tell_error(request.scope, error.code)
        challenge = bearer.challenge(error, realm=loaded.issuer)
        body = {"error": error.code, "error_description": error.description}
        return json_response(body, error.status).with_headers((b"www-authenticate", challenge.encode()))


def _public(request: Request, document: Document, media_type: bytes, seconds: int = _PUBLIC_SECONDS) -> Response:
    headers = (
        (b"content-type", media_type),
        (b"cache-control", f"public, max-age={seconds}".encode()),
        (b"etag", document.etag.encode()),
        NOSNIFF,
    )
    if document.etag in (request.header(b"if-none-match") or ""):
        return Response(304, b"", headers)
    return Response(200, document.body, headers)
