"""npm openid-client, a certified client library, calls a FastAPI service with DPoP over real HTTP (RFC 9449).

Its proofs, its memory of nonces and its reading of our challenges are not ours.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Annotated

import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request
from joserfc.jwk import ECKey, OKPKey, RSAKey
from packages.tegata.tests.acceptance.node import FOLDER, missing

from tegata_verify import DpopNonces, DpopPolicy, Guard, Principal
from tegata_verify.fastapi import install, requires
from tegata_verify.testing import TestIssuer

pytestmark = pytest.mark.foreign

SCRIPT = Path(__file__).with_name("openid_client_calls.mjs").read_text()
KEYS = {
    "ES256": lambda: ECKey.generate_key("P-256"),
    "RS256": lambda: RSAKey.generate_key(2048),
    "PS256": lambda: RSAKey.generate_key(2048),
    "EdDSA": lambda: OKPKey.generate_key("Ed25519"),
    "Ed25519": lambda: OKPKey.generate_key("Ed25519"),
}
ISSUER = TestIssuer()


class Bound:
    """To the key of a client that is not ours."""

    def __init__(self, key):
        self.confirmation = {"jkt": key.thumbprint()}


def build(base: str, seen: list[tuple[str, int]]) -> FastAPI:
    app = FastAPI()
    install(app, Guard(ISSUER.verifier(), dpop=DpopPolicy(base, nonces=DpopNonces(), required=True)))

    @app.middleware("http")
    async def note(request: Request, call_next):
        response = await call_next(request)
        seen.append((request.method, response.status_code))
        return response

    @app.api_route("/beers/{name}", methods=["GET", "POST"])
    async def beer(name: str, caller: Annotated[Principal, Depends(requires(scope="read"))]) -> str:
        return f"{name} for {caller.subject}"

    return app


@pytest.fixture(scope="module")
def service():
    """Yield the address of a service under uvicorn, and the list of what it has answered."""
    listening = socket.create_server(("127.0.0.1", 0))
    base, seen = f"http://127.0.0.1:{listening.getsockname()[1]}", []
    server = uvicorn.Server(uvicorn.Config(build(base, seen), log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    yield base, seen
    server.should_exit = True
    thread.join(60)
    listening.close()


def call(*calls):
    """Let the library make the calls, in one process."""
    node = shutil.which("node") or missing("Debian package nodejs")
    if not (FOLDER / "node_modules" / "openid-client").is_dir():
        missing(f"npm package openid-client: npm ci in {FOLDER.name}/")
    done = subprocess.run(
        [node, "--input-type=module", "-e", SCRIPT],
        cwd=FOLDER,
        input=json.dumps({"calls": calls}).encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return json.loads(done.stdout)


def test_its_proofs_are_good_and_it_learns_our_nonce_from_refusals_and_from_answers(service):
    base, seen = service
    keys = {algorithm: make() for algorithm, make in KEYS.items()}
    requests = [
        {"method": "GET", "url": f"{base}/beers/saison"},
        {"method": "POST", "url": f"{base}/beers/k%C3%B6lsch?page=2#top", "body": "one more"},
        {"method": "GET", "url": f"{base}/beers/saison"},
    ]
    seen.clear()
    told = call(
        *(
            {
                "algorithm": algorithm,
                "key": key.as_dict(private=True),
                "token": ISSUER.mint(scope="read", bound_to=Bound(key)),
                "requests": requests,
            }
            for algorithm, key in keys.items()
        )
    )
    for key, of_call in zip(keys.values(), told, strict=True):
        assert of_call["thumbprint"] == key.thumbprint()
        assert [answer["status"] for answer in of_call["answers"]] == [200, 200, 200]
        assert [json.loads(answer["body"]) for answer in of_call["answers"]] == [
            "saison for user-1",
            "kölsch for user-1",
            "saison for user-1",
        ]
    # Each client is asked for a nonce once, and keeps the one of each answer.
    assert seen == [("GET", 401), ("GET", 200), ("POST", 200), ("GET", 200)] * len(keys)


def test_it_understands_why_it_is_refused(service):
    base, _ = service
    mine, stolen = KEYS["ES256"](), KEYS["ES256"]()
    key = mine.as_dict(private=True)
    calls = {
        "stolen token": {"key": key, "token": ISSUER.mint(scope="read", bound_to=Bound(stolen))},
        "narrow token": {"key": key, "token": ISSUER.mint(scope="write", bound_to=Bound(mine))},
        "bound token as bearer": {"token": ISSUER.mint(scope="read", bound_to=Bound(mine))},
        "token that is not bound": {"token": ISSUER.mint(scope="read")},
    }
    asked = [{"method": "GET", "url": f"{base}/beers/saison"}]
    told = call(*({"algorithm": "ES256", "requests": asked, **one} for one in calls.values()))
    answers = {name: of_call["answers"][0] for name, of_call in zip(calls, told, strict=True)}
    assert {name: answer["status"] for name, answer in answers.items()} == {
        "stolen token": 401,
        "narrow token": 403,
        "bound token as bearer": 401,
        "token that is not bound": 401,
    }
    for name, answer in answers.items():
        assert answer["code"] == "OAUTH_WWW_AUTHENTICATE_CHALLENGE"
        (challenge,) = answer["challenges"]
        assert challenge["scheme"] == "dpop"
        assert challenge["parameters"]["algs"] == "ES256 Ed25519 EdDSA PS256 RS256"
        expected = "insufficient_scope" if name == "narrow token" else "invalid_token"
        assert challenge["parameters"]["error"] == expected
