"""The Lambda authorizer answers events of REST and HTTP APIs, in their documented shapes."""

from __future__ import annotations

import pytest
from aws_lambda_powertools.utilities.data_classes.api_gateway_authorizer_event import (
    APIGatewayAuthorizerEventV2,
    APIGatewayAuthorizerRequestEvent,
    APIGatewayAuthorizerResponse,
    APIGatewayAuthorizerResponseV2,
    APIGatewayAuthorizerTokenEvent,
)

from tegata_verify import SyncGuard, build_requirement
from tegata_verify.aws_lambda import LambdaAuthorizer, describe
from tegata_verify.path_rules import PathRule, PathRules
from tegata_verify.testing import TestIssuer

ARN = "arn:aws:execute-api:eu-west-1:123456789012:abcdef/prod/GET/beers/7"
RULES = PathRules([PathRule("/beers", build_requirement(scope="read"), methods={"GET"})])


@pytest.fixture(scope="module")
def issuer() -> TestIssuer:
    return TestIssuer()


@pytest.fixture(params=["one requirement", "rules"])
def handler(issuer, request):
    guard = SyncGuard(issuer.verifier())
    yield LambdaAuthorizer(guard, RULES if request.param == "rules" else build_requirement(scope="read"))
    guard.close()


def token_event(authorization: str) -> dict:
    return {"type": "TOKEN", "authorizationToken": authorization, "methodArn": ARN}


def request_event(authorization: str) -> dict:
    return {
        "type": "REQUEST",
        "methodArn": ARN,
        "path": "/beers/7",
        "httpMethod": "GET",
        "headers": {"Authorization": authorization},
        "multiValueHeaders": {"Authorization": [authorization]},
        "queryStringParameters": {"page": "1"},
        "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "domainName": "api.example.com"},
    }


def http_event(authorization: str) -> dict:
    return {
        "version": "2.0",
        "type": "REQUEST",
        "routeArn": ARN,
        "rawPath": "/beers/7",
        "rawQueryString": "page=1",
        "headers": {"authorization": authorization},
        "requestContext": {"domainName": "api.example.com", "http": {"method": "GET", "sourceIp": "192.0.2.1"}},
    }


@pytest.mark.parametrize("event", [token_event, request_event])
def test_a_rest_api_gets_a_policy_for_the_one_method(handler, issuer, event):
    answer = handler(event(f"Bearer {issuer.mint(scope='read', roles=['a', 'b'])}"), None)
    assert answer == {
        "principalId": "user-1",
        "policyDocument": {
            "Version": "2012-10-17",
            "Statement": [{"Action": "execute-api:Invoke", "Effect": "Allow", "Resource": ARN}],
        },
        "context": {
            "sub": "user-1",
            "client_id": "client-1",
            "tenant": "demo",
            "issuer": issuer.issuer,
            "scope": "read",
            "roles": "a b",
        },
    }
    (statement,) = handler(event(f"Bearer {issuer.mint(scope='write')}"), None)["policyDocument"]["Statement"]
    assert (statement["Effect"], statement["Resource"]) == ("Deny", ARN)


def test_an_http_api_gets_a_simple_answer(handler, issuer):
    answer = handler(http_event(f"Bearer {issuer.mint(scope='read')}"), None)
    assert (answer["isAuthorized"], answer["context"]["sub"]) == (True, "user-1")
    assert handler(http_event(f"Bearer {issuer.mint(scope='write')}"), None) == {"isAuthorized": False}


BAD = ["", "Bearer x.y.z", "Basic YTpi", "Bearer a,Bearer b", "Bearer \u2028"]


@pytest.mark.parametrize("event", [token_event, request_event])
@pytest.mark.parametrize("authorization", BAD)
def test_whatever_is_no_good_token_is_exactly_unauthorized(handler, event, authorization):
    with pytest.raises(Exception, match=r"^Unauthorized$") as raised:
        handler(event(authorization), None)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("authorization", BAD)
def test_whatever_is_no_good_token_is_no_error_in_an_http_api(handler, authorization):
    assert handler(http_event(authorization), None) == {"isAuthorized": False}


def test_a_path_without_a_rule_is_refused(issuer):
    guard = SyncGuard(issuer.verifier())
    handler = LambdaAuthorizer(guard, RULES)
    for path in ("/wine", "/beers/../admin", "/beers/%2e%2e/admin", "/beers//7"):
        event = {**http_event(f"Bearer {issuer.mint(scope='read')}"), "rawPath": path}
        assert handler(event, None) == {"isAuthorized": False}
    guard.close()


def with_one_resource(answer: dict) -> dict:
    """One text and a list of one mean the same. IAM User Guide, "IAM JSON policy elements: Resource"."""
    for statement in answer["policyDocument"]["Statement"]:
        (statement["Resource"],) = statement["Resource"]
    return answer


def test_the_answers_are_those_that_awss_own_library_would_write(issuer):
    """Powertools for AWS Lambda reads the events, and builds the answers, for the same routes."""
    guard = SyncGuard(issuer.verifier())
    handler = LambdaAuthorizer(guard, RULES)
    authorization = f"Bearer {issuer.mint(scope='read')}"
    narrow = f"Bearer {issuer.mint(scope='write')}"

    readers = {token_event: APIGatewayAuthorizerTokenEvent, request_event: APIGatewayAuthorizerRequestEvent}
    for event, read in readers.items():
        allowed, denied = handler(event(authorization), None), handler(event(narrow), None)
        arn = read(event(authorization)).parsed_arn
        theirs = APIGatewayAuthorizerResponse.from_route_arn(arn.arn, "user-1", allowed["context"])
        theirs.allow_route(arn.http_method, arn.resource)
        assert allowed == with_one_resource(theirs.asdict())
        refusing = APIGatewayAuthorizerResponse.from_route_arn(arn.arn, "caller", {})
        refusing.deny_route(arn.http_method, arn.resource)
        assert denied["policyDocument"] == with_one_resource(refusing.asdict())["policyDocument"]

    simple = handler(http_event(authorization), None)
    assert simple == APIGatewayAuthorizerResponseV2(authorize=True, context=simple["context"]).asdict()
    assert handler(http_event(narrow), None) == APIGatewayAuthorizerResponseV2(authorize=False).asdict()
    guard.close()


@pytest.mark.parametrize("event", [request_event, http_event])
def test_the_event_is_read_as_awss_own_library_reads_it(event):
    sent = event("Bearer abc")
    request = describe(sent)
    theirs = (APIGatewayAuthorizerEventV2 if event is http_event else APIGatewayAuthorizerRequestEvent)(sent)
    path = theirs.raw_path if event is http_event else theirs.path
    assert request.raw_path == path.encode()
    assert [value.decode() for value in request.values(b"authorization")] == [theirs.headers["authorization"]]
    assert request.method == theirs.parsed_arn.http_method


@pytest.mark.parametrize("path", ["*", "beers/*", "beers/?", "beers/${aws:x}"])
def test_a_path_that_a_policy_would_read_as_a_pattern_is_denied(issuer, path):
    arn = ARN.replace("beers/7", path)
    guard = SyncGuard(issuer.verifier())
    handler = LambdaAuthorizer(guard)
    bearer = f"Bearer {issuer.mint(scope='read')}"
    for event in (token_event(bearer), request_event(bearer) | {"path": f"/{path}"}):
        (statement,) = handler({**event, "methodArn": arn}, None)["policyDocument"]["Statement"]
        assert statement["Effect"] == "Deny"
    guard.close()


def test_a_stage_or_a_base_path_is_no_way_around_a_rule(issuer):
    rules = PathRules([PathRule("/", build_requirement()), PathRule("/admin", build_requirement(role="admin"))])
    guard = SyncGuard(issuer.verifier())
    handler, bearer = LambdaAuthorizer(guard, rules), f"Bearer {issuer.mint()}"
    arn = ARN.replace("beers/7", "admin/users")
    for path in ("/admin/users", "/v1/admin/users", "/v1/admin/users/", "/v1/%61dmin/users"):
        event = request_event(bearer) | {"path": path, "methodArn": arn}
        assert handler(event, None)["policyDocument"]["Statement"][0]["Effect"] == "Deny"
    http = http_event(bearer)
    http["requestContext"]["stage"] = "prod"
    for path in ("/admin/users", "/prod/admin/users", "/v1/admin/users"):
        assert handler(http | {"rawPath": path, "routeArn": arn}, None) == {"isAuthorized": False}
    assert handler(http | {"rawPath": "/prod/beers/7"}, None)["isAuthorized"]
    guard.close()


def test_a_path_that_its_arn_does_not_repeat_keeps_its_rule(issuer):
    guard = SyncGuard(issuer.verifier())
    handler = LambdaAuthorizer(guard, RULES)
    event = request_event(f"Bearer {issuer.mint(scope='read')}") | {"path": "/beers/8"}
    assert handler(event, None)["policyDocument"]["Statement"][0]["Effect"] == "Allow"
    guard.close()
