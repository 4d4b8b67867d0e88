"""The reference page of the issuers tells the truth, and the code after a move works."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from jose import jwt as jose

from tegata_verify import Reason, TokenError, issuers
from tegata_verify.testing import TestIssuer

from .issuers.vendors import APP_CLIENT, cognito, entra, keycloak

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference/issuers.md").read_text()
HOW_TO = (DOCS / "how-to/move-to-tegata-verify.md").read_text()

RULES = {
    "Tegata": issuers.Tegata("https://id.example.com/demo", ["api"]),
    "Generic": issuers.Generic("https://id.example.com", ["api"]),
    "Cognito": cognito().rules,
    "Keycloak": keycloak().rules,
    "EntraId": entra().rules,
    "Auth0": issuers.Auth0("brewery.eu.auth0.com", ["api"]),
}


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def table(section):
    text = REFERENCE.partition(f"## {section}\n")[2].partition("\n## ")[0]
    return [cells(line) for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]


def listed(names):
    return ", ".join(sorted(names)) or "–"


def needs(kind, name):
    places = {"Cognito": ("eu-west-1", "eu-west-1_Ab12Cd34E"), "EntraId": ("6f0a4b3c-1111-4222-8333-0123456789ab",)}
    places |= {"Keycloak": ("https://sso.example.com/realms/beer",), "Auth0": ("brewery.eu.auth0.com",)}
    given = {"audiences": ["api"], "client_ids": ["client"], name: []}
    try:
        getattr(issuers, kind)(*places.get(kind, ("https://id.example.com/demo",)), **given)
    except ValueError:
        return "needed"
    return "optional"


def test_each_issuer_has_a_column():
    assert table("By issuer")[0][1:] == [f"`{kind}`" for kind in RULES]


@pytest.mark.parametrize("kind", RULES)
def test_the_table_says_what_the_rules_say(kind):
    column = list(RULES).index(kind) + 1
    said = {row[0]: row[column] for row in table("By issuer")[1:]}
    rules = RULES[kind]
    assert said["`alg`"] == listed(rules.algorithms)
    assert said["header `typ`"] == listed(rules.token_types)
    assert said["required claims"] == listed(rules.required_claims)
    assert said["audience"] == needs(kind, "audiences")
    assert said["client allow-list"] == needs(kind, "client_ids")
    assert said["scopes from"] == rules.claim_paths.scope[0]
    assert said["client from"] == rules.claim_paths.client_id[0]
    assert said["keys"].startswith("discovery") == (rules.jwks_uri is None)


def test_each_issuer_has_its_reasons_and_each_reason_exists():
    assert {row[0].strip("`") for row in table("Why")[1:]} == set(RULES)
    named = {name for row in table("Of every token")[1:] for name in re.findall(r"`(\w+)`", row[2])}
    assert named <= {str(reason) for reason in Reason}
    assert {"wrong_token_use", "wrong_client", "bad_signature"} <= named


@pytest.fixture(scope="module")
def page():
    namespace: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL):
        exec(compile(block, "documentation", "exec", dont_inherit=True), namespace)
    return namespace


@pytest.mark.anyio
async def test_what_cognito_utils_becomes(page):
    vendor = cognito()
    assert page["verifier"].issuers == (vendor.rules,)
    page["verifier"] = vendor.verifier()
    assert (await page["verify"](vendor.mint())).subject == vendor.access[1]["sub"]
    for token, reason in (
        (vendor.mint_id_token(), Reason.WRONG_TOKEN_USE),
        (vendor.mint({"client_id": "another"}), Reason.WRONG_CLIENT),
    ):
        with pytest.raises(TokenError) as caught:
            await page["verify"](token)
        assert caught.value.reason == reason


def ask(app, path, token):
    return TestClient(app).get(path, headers={"Authorization": f"Bearer {token}"}).status_code


def test_what_python_jose_becomes(page):
    vendor = keycloak()
    app = page["build_app"](vendor.verifier())
    assert ask(app, "/beers", vendor.mint()) == 200
    assert ask(app, "/beers", vendor.mint({"realm_access": {"roles": ["guest"]}})) == 403
    assert ask(app, "/beers", vendor.mint_id_token()) == 401


def test_what_fastapi_cloudauth_becomes(page):
    vendor = cognito()
    app = page["build_pool_app"](vendor.verifier())
    assert ask(app, "/", vendor.mint()) == 200
    assert ask(app, "/", vendor.mint({"scope": "openid"})) == 403
    assert ask(app, "/", vendor.mint({"client_id": "another"})) == 401


def test_what_the_page_says_of_python_jose_is_so():
    issuer = TestIssuer(algorithm="RS256")
    pem = issuer.key.as_pem(private=False)
    assert jose.decode(issuer.mint(), pem, audience=issuer.audience)["sub"] == "user-1"  # no algorithms
    nobodys = issuer.mint(claims={"aud": None})
    assert jose.decode(nobodys, pem, algorithms=["RS256"], audience="beer-api", issuer=issuer.issuer)


@pytest.mark.anyio
async def test_what_the_page_says_of_fastapi_cloudauth_is_so():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastapi.security import HTTPAuthorizationCredentials
        from fastapi_cloudauth import cognito as cloud
    pool = cognito().rules
    issuer = TestIssuer(pool.issuer, algorithm="RS256")
    keys = cloud.BaseJWKS(fixed_keys={issuer.key.kid: cloud.jwk.construct(issuer.jwks()["keys"][0])})
    # What its Cognito(region, userPoolId, client_id, scope_key="scope") is made of, but for the fetch of the keys.
    extra = cloud.CognitoExtraVerifier(client_id=APP_CLIENT, issuer=pool.issuer, token_use={"access"})
    auth = cloud.ScopedAuth(keys, audience=APP_CLIENT, issuer=pool.issuer, scope_key="scope", extra=extra)
    strangers = issuer.mint(client_id="another", scope="beers/read", claims={"aud": None, "token_use": "access"})
    sent = HTTPAuthorizationCredentials(scheme="Bearer", credentials=strangers)
    assert await auth.scope(["beers/read"]).verifier.verify_token(sent)
