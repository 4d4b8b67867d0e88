"""The identity endpoints of Azure on loopback: App Service, virtual machines (IMDS) and the token endpoint of Entra.

Sources: "How to use managed identities for App Service and Azure Functions", "How to use managed identities for Azure
resources on an Azure VM to acquire an access token", "Microsoft identity platform and the OAuth 2.0 client credentials
flow" (case three, a federated credential). What they do wrong on demand stands in `Behaviour`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .issuer import IssuedToken, TokenIssuer
from .web import Answer, Request

APP_SERVICE_PATH = "/msi/token"
IMDS_PATH = "/metadata/identity/oauth2/token"
_ENTRA_PATH = "/oauth2/v2.0/token"
_APP_SERVICE_VERSION, _IMDS_VERSION = "2019-08-01", "2018-02-01"
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(slots=True)
class Behaviour:
    """What the endpoints do with the next calls; a fresh one is an honest cloud.

    `answer` stands in for every answer while it is set; `next_answers` are each used once. `announced_seconds` is what
    `expires_in` and `expires_on` say, whatever the token's own `exp` is. `delay_seconds` comes before each answer;
    while it is `held` it does not come yet; with `silent` none comes at all: the connection ends when that does.
    """

    announced_seconds: int | None = None
    delay_seconds: float = 0.0
    held: bool = False
    silent: bool = False
    answer: Answer | None = None
    next_answers: list[Answer] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IdentityCall:
    """One call of an endpoint, and the number of the token that it gave, if any."""

    form: str  # "app_service", "imds", "workload" or "unknown"
    path: str
    parameters: Mapping[str, str] = field(repr=False)
    status: int
    token: int | None = None
    with_header: bool = False  # whether the secret header of App Service was sent

    @property
    def is_probe(self) -> bool:
        """Whether only the presence of the endpoint was asked for: IMDS without its header gives nothing."""
        return self.form == "imds" and self.status == 400


class IdentityService:
    """Answers the calls. `identities` maps a client id to an object id; None is the system-assigned identity."""

    def __init__(self, issuer: TokenIssuer, *, header: str, assertion: str, clock: Callable[[], float]) -> None:
        self._issuer = issuer
        self._header = header
        self._assertion = assertion
        self._clock = clock
        self.behaviour = Behaviour()
        self.identities: dict[str | None, str] = {}
        self.calls: list[IdentityCall] = []

    def answer(self, request: Request) -> Answer:
        """Answer one call and take note of it."""
        form, check = self._form_of(request)
        token: IssuedToken | None = None
        if self.behaviour.next_answers:
            answer = self.behaviour.next_answers.pop(0)
        elif self.behaviour.answer is not None:
            answer = self.behaviour.answer
        else:
            refused, resource, client_id = check(request)
            subject = self.identities.get(client_id)
            if refused is None and subject is None:
                refused = _refuse("invalid_request", "Identity not found")
            if refused is None and subject is not None:
                token = self._issuer.issue(subject, audience=resource)
            answer = refused or self._grant(form, token, resource, client_id)
        number = token.number if token else None
        known = request.headers.get("x-identity-header") == self._header
        self.calls.append(IdentityCall(form, request.path, request.parameters, answer.status, number, known))
        return answer

    def _form_of(self, request: Request) -> tuple[str, Callable[[Request], _Checked]]:
        if request.path == APP_SERVICE_PATH and request.method == "GET":
            return "app_service", self._check_app_service
        if request.path == IMDS_PATH and request.method == "GET":
            return "imds", self._check_imds
        if request.path.endswith(_ENTRA_PATH) and request.method == "POST":
            return "workload", self._check_workload
        return "unknown", lambda _: (Answer(404, {"error": "not_found"}), "", None)

    def _check_app_service(self, request: Request) -> _Checked:
        if request.headers.get("x-identity-header") != self._header:
            return _refuse("unauthorized", "the header is missing or wrong", 401), "", None
        return _check_query(request, _APP_SERVICE_VERSION)

    def _check_imds(self, request: Request) -> _Checked:
        if request.headers.get("metadata") != "true":
            return _refuse("invalid_request", "Required metadata header not specified"), "", None
        return _check_query(request, _IMDS_VERSION)

    def _check_workload(self, request: Request) -> _Checked:
        form = request.parameters
        known = (form.get("grant_type"), form.get("client_assertion_type"), form.get("client_assertion"))
        if known != ("client_credentials", _ASSERTION_TYPE, self._assertion):
            return _refuse("invalid_client", "AADSTS7000215: no such client or assertion", 401), "", None
        return None, form.get("scope", "").removesuffix("/.default"), form.get("client_id")

    def _grant(self, form: str, token: IssuedToken | None, resource: str, client_id: str | None) -> Answer:
        assert token is not None
        now = int(self._clock())
        announced = self.behaviour.announced_seconds
        seconds = token.expires_at - now if announced is None else announced
        body: dict[str, Any] = {"access_token": token.value, "token_type": "Bearer"}
        if form == "workload":
            return Answer(200, body | {"expires_in": seconds, "ext_expires_in": seconds})
        body |= {"expires_on": str(now + seconds), "resource": resource, "client_id": client_id or "system"}
        if form == "imds":
            body |= {"expires_in": str(seconds), "ext_expires_in": str(seconds), "not_before": str(now)}
        return Answer(200, body)


# A refusal or None, the resource that a token is wanted for, and the client id of the identity.
_Checked = tuple[Answer | None, str, str | None]


def _check_query(request: Request, version: str) -> _Checked:
    resource = request.parameters.get("resource", "")
    if request.parameters.get("api-version") != version or not resource:
        return _refuse("invalid_request", "api-version or resource is missing or wrong"), "", None
    return None, resource, request.parameters.get("client_id")


def _refuse(code: str, text: str, status: int = 400) -> Answer:
    return Answer(status, json.dumps({"error": code, "error_description": text}).encode())
