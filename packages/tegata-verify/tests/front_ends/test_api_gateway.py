"""The Lambda authorizer as a Lambda function in front of REST and HTTP APIs, in a stand-in for AWS that is not ours.

ministack runs the function in a process of its own, sends it the events of API Gateway, and does what its answers say.
The function fetches the issuer's keys over HTTP.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import httpx2
import pytest

from tegata_verify.testing import TestIssuer

REGION = "eu-west-1"
# It ends with its standard input, also when the tests are killed.
RUN = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
from ministack.app import main
sys.argv = ["ministack"]
main()
"""
FUNCTIONS = """
import os, sys

sys.path += os.environ["PACKAGES"].split(os.pathsep)

from tegata_verify import CachePolicy, SyncGuard, Tegata, Verifier, build_requirement
from tegata_verify.aws_lambda import LambdaAuthorizer
from tegata_verify.path_rules import PathRule, PathRules

rules = Tegata(os.environ["ISSUER"], ["https://api.test"], allow_loopback_http=True)
needed = PathRules([
    PathRule("/beers", build_requirement(scope="read"), methods={"GET"}),
    PathRule("/beers", build_requirement(scope="write"), methods={"POST"}),
])
authorize = LambdaAuthorizer(SyncGuard(Verifier(rules, cache_policy=CachePolicy(timeout=60))), needed)


def serve(event, context):
    known = event["requestContext"]["authorizer"]
    return {"statusCode": 200, "body": known.get("lambda", known)["sub"]}
"""


@dataclass(frozen=True)
class Gateway:
    """An issuer, and three APIs by what they send the authorizer."""

    issuer: TestIssuer
    bases: dict[str, str]

    def ask(self, api: str, method: str, headers: dict[str, str]) -> tuple[int, str]:
        with httpx2.Client(trust_env=False, timeout=120) as http:
            answer = http.request(method, f"{self.bases[api]}/beers", headers=headers)
        return answer.status_code, answer.text


@pytest.fixture(scope="module")
def issuer() -> Iterator[TestIssuer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            document = served.documents().get(f"{base}{self.path}")
            self.send_response(404 if document is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        base = f"http://127.0.0.1:{server.server_port}"
        served = TestIssuer(f"{base}/demo")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield served
        server.shutdown()
        thread.join(60)


@pytest.fixture(scope="module")
def address(wait_until) -> Iterator[str]:
    """Start ministack; with TEGATA_ACCEPTANCE_COMPLETE set it may not be missing."""
    python = Path(sys.prefix, "ministack", "bin", "python")
    if not python.exists():
        words = "ministack, which `make test` installs from requirements/ministack.txt"
        (pytest.fail if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE") else pytest.skip)(f"missing: {words}")
    # Bound and not listening, it keeps the port from everybody but who wants this very one, as ministack does.
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    port = kept.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="ministack-")
    variables = {"BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "PATH": os.environ["PATH"], "HOME": directory}
    process = subprocess.Popen(
        [str(python), "-c", RUN],
        env=variables | {"TMPDIR": directory},
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, "ministack has ended"
        yield f"http://127.0.0.1:{port}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
        kept.close()
        shutil.rmtree(directory, ignore_errors=True)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def gateway(address: str, issuer: TestIssuer) -> Iterator[Gateway]:
    session = boto3.session.Session("test", "test", region_name=REGION)
    clients = {name: session.client(name, endpoint_url=address) for name in ("lambda", "apigateway", "apigatewayv2")}
    functions = {name: build_function(clients["lambda"], name, issuer) for name in ("authorize", "serve")}
    bases = {kind: build_rest_api(clients["apigateway"], kind, functions, address) for kind in ("TOKEN", "REQUEST")}
    bases["HTTP"] = build_http_api(clients["apigatewayv2"], functions, address)
    yield Gateway(issuer, bases)
    for client in clients.values():
        client.close()


def build_function(client: Any, name: str, issuer: TestIssuer) -> str:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("functions.py", FUNCTIONS)
    function = client.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Handler=f"functions.{name}",
        Role="arn:aws:iam::000000000000:role/any",
        Code={"ZipFile": archive.getvalue()},
        Timeout=120,
        Environment={"Variables": {"ISSUER": issuer.issuer, "PACKAGES": os.pathsep.join(filter(None, sys.path))}},
    )
    return str(function["FunctionArn"])


def invocation(function_arn: str) -> str:
    return f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations"


def build_rest_api(client: Any, kind: str, functions: dict[str, str], address: str) -> str:
    api = client.create_rest_api(name=f"beers-{kind}")["id"]
    authorizer = client.create_authorizer(
        restApiId=api,
        name="authorizer",
        type=kind,
        authorizerUri=invocation(functions["authorize"]),
        identitySource="method.request.header.Authorization",
        authorizerResultTtlInSeconds=0,
    )["id"]
    root = client.get_resources(restApiId=api)["items"][0]["id"]
    resource = client.create_resource(restApiId=api, parentId=root, pathPart="beers")["id"]
    for method in ("GET", "POST"):
        where = {"restApiId": api, "resourceId": resource, "httpMethod": method}
        client.put_method(**where, authorizationType="CUSTOM", authorizerId=authorizer)
        client.put_integration(
            **where, type="AWS_PROXY", integrationHttpMethod="POST", uri=invocation(functions["serve"])
        )
    client.create_deployment(restApiId=api, stageName="prod")
    return f"{address}/restapis/{api}/prod/_user_request_"


def build_http_api(client: Any, functions: dict[str, str], address: str) -> str:
    api = client.create_api(Name="beers", ProtocolType="HTTP")["ApiId"]
    authorizer = client.create_authorizer(
        ApiId=api,
        Name="authorizer",
        AuthorizerType="REQUEST",
        AuthorizerUri=invocation(functions["authorize"]),
        AuthorizerPayloadFormatVersion="2.0",
        EnableSimpleResponses=True,
        IdentitySource=["$request.header.Authorization"],
        AuthorizerResultTtlInSeconds=0,
    )["AuthorizerId"]
    integration = client.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=functions["serve"], PayloadFormatVersion="2.0"
    )["IntegrationId"]
    for method in ("GET", "POST"):
        client.create_route(
            ApiId=api,
            RouteKey=f"{method} /beers",
            Target=f"integrations/{integration}",
            AuthorizationType="CUSTOM",
            AuthorizerId=authorizer,
        )
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    return f"{address}/_aws/execute-api/{api}/$default"


@pytest.mark.parametrize("api", ["TOKEN", "REQUEST", "HTTP"])
def test_the_gateway_does_what_the_authorizer_says(gateway, api):
    issuer = gateway.issuer
    assert gateway.ask(api, "GET", issuer.headers(subject="user-7", scope="read")) == (200, "user-7")
    assert gateway.ask(api, "POST", issuer.headers(subject="user-8", scope="write")) == (200, "user-8")
    asked = {
        "a reader who writes": ("POST", issuer.headers(scope="read")),
        "no token": ("GET", {}),
        "an expired token": ("GET", issuer.headers(scope="read", flaw="expired")),
    }
    statuses = {name: gateway.ask(api, *request)[0] for name, request in asked.items()}
    # An HTTP API knows no answer of an authorizer that means 401.
    bad = 403 if api == "HTTP" else 401
    assert statuses == {"a reader who writes": 403, "no token": 401, "an expired token": bad}
