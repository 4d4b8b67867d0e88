"""Errors: each code has one status and a description that RFC 6749 §5.2 allows."""

from __future__ import annotations

import re

import pytest

from tegata.protocol import errors
from tegata.protocol.errors import OAuthError, Refused

ALL = [
    (errors.invalid_request("d"), "invalid_request", 400),
    (errors.invalid_client("d", "r"), "invalid_client", 401),
    (errors.invalid_grant("d", "r"), "invalid_grant", 400),
    (errors.unauthorized_client("d"), "unauthorized_client", 400),
    (errors.unsupported_grant_type("d"), "unsupported_grant_type", 400),
    (errors.unsupported_response_type("d"), "unsupported_response_type", 400),
    (errors.unsupported_token_type("d"), "unsupported_token_type", 400),
    (errors.invalid_scope("d"), "invalid_scope", 400),
    (errors.invalid_target("d"), "invalid_target", 400),
    (errors.access_denied(), "access_denied", 400),
    (errors.login_required("r"), "login_required", 400),
    (errors.consent_required(), "consent_required", 400),
    (errors.interaction_required("r"), "interaction_required", 400),
    (errors.unmet_authentication_requirements(), "unmet_authentication_requirements", 400),
    (errors.request_not_supported(), "request_not_supported", 400),
    (errors.request_uri_not_supported(), "request_uri_not_supported", 400),
    (errors.invalid_token("d", "r"), "invalid_token", 401),
    (errors.insufficient_scope("d"), "insufficient_scope", 403),
    (errors.server_error(), "server_error", 500),
    (errors.temporarily_unavailable("r"), "temporarily_unavailable", 503),
]


@pytest.mark.parametrize(("error", "code", "status"), ALL, ids=[code for _, code, _ in ALL])
def test_the_code_the_status_and_the_words_of(error: OAuthError, code: str, status: int) -> None:
    assert (error.code, error.status) == (code, status)
    assert error.reason
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", error.description)


@pytest.mark.parametrize("kind", [OAuthError, Refused])
def test_the_text_of_an_exception_is_its_code_and_reason(kind: type[OAuthError | Refused]) -> None:
    assert str(kind("code", "what the client reads", "why")) == "code: why"
