"""What a service tells clients about itself (RFC 9728)."""

from __future__ import annotations

import pytest
from fastapi import Depends, FastAPI
from starlette.testclient import TestClient

from tegata_verify import AccessPolicy, EntraId, Guard, ProtectedResource
from tegata_verify.fastapi import find_open_endpoints, install, requires
from tegata_verify.protected_resource import build_document
from tegata_verify.testing import TestIssuer

POLICY = AccessPolicy(roles={"viewer": ["*:read"]}, scopes={"read": {"methods": ["GET"], "permissions": ["*:read"]}})


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        ("https://api.example.com", ""),
        ("https://api.example.com/", ""),
        ("https://api.example.com/mcp", "/mcp"),
        ("https://api.example.com/mcp/", "/mcp/"),
        ("https://api.example.com:8443/a/b", "/a/b"),
    ],
)
def test_the_well_known_path_goes_between_host_and_path(resource, path):
    host = "/".join(resource.split("/")[:3])
    assert ProtectedResource(resource).metadata_url == f"{host}/.well-known/oauth-protected-resource{path}"


@pytest.mark.parametrize(
    "wrong",
    [
        "http://api.example.com",
        "https://api.example.com/?a=b",
        "https://api.example.com/#x",
        "https://u@api.example.com/",
        "api.example.com",
    ],
)
def test_an_address_that_is_no_resource_is_refused(wrong):
    with pytest.raises(ValueError, match="resource"):
        ProtectedResource(wrong)


def test_what_there_is_nothing_to_say_about_is_left_out():
    assert build_document(ProtectedResource("https://api.example.com")) == {
        "resource": "https://api.example.com",
        "bearer_methods_supported": ["header"],
    }


def test_an_issuer_of_several_tenants_has_no_name_to_give():
    rules = EntraId("organizations", ["api"], tenants=["6f0a4b3c-1111-4222-8333-0123456789ab"])
    assert "authorization_servers" not in build_document(ProtectedResource("https://api.example.com"), issuers=[rules])


@pytest.fixture(scope="module")
def issuer():
    return TestIssuer()


@pytest.fixture
def client(issuer):
    app = FastAPI()
    resource = ProtectedResource("https://api.test/beers", resource_name="Beers")
    install(app, Guard(issuer.verifier(), resource=resource, policy=POLICY))

    @app.get("/beers", dependencies=[Depends(requires())])
    async def beers() -> str:
        return "Saison"

    assert find_open_endpoints(app) == []
    return TestClient(app, base_url="https://api.test")


def test_a_client_finds_the_issuer_from_the_challenge(client, issuer):
    challenge = client.get("/beers").headers["www-authenticate"]
    url = "https://api.test/.well-known/oauth-protected-resource/beers"
    assert f'resource_metadata="{url}"' in challenge
    answer = client.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json() == {
        "resource": "https://api.test/beers",
        "resource_name": "Beers",
        "authorization_servers": [issuer.issuer],
        "scopes_supported": ["read"],
        "bearer_methods_supported": ["header"],
    }


def test_the_description_is_no_part_of_the_documentation(client):
    assert list(client.get("/openapi.json").json()["paths"]) == ["/beers"]
