"""`tegata serve` on a database with a tenant, and a sign-in at it, every text of which is kept to be looked for."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from uuid import UUID

import httpx2
import psycopg
from joserfc import jwt
from joserfc.jwk import ECKey

from tegata.crypto.digests import new_secret, s256
from tegata.postgres.target import ConnectionTarget
from tegata.testing.warm_starts import WarmPopen
from tegata_credentials.testing import free_port

TEGATA = Path(sys.executable).parent / "tegata"
PATIENCE_SECONDS = 60
CALLBACK = "https://rp.example.net/callback"
USERNAME, EMAIL, PERSON = "hanako-of-the-test", "hanako@mail.example.net", "Hanako Tegata"
AGENT, ADDRESS = "a-browser-of-a-test/7.7", "198.51.100.77"
DOCUMENTS = f"""
apiVersion: tegata.dev/v1
kind: Tenant
metadata: {{name: traced}}
spec: {{display_name: Traced, scopes: [{{name: read}}]}}
---
apiVersion: tegata.dev/v1
kind: Client
metadata: {{name: web-of-the-test, tenant: traced}}
spec:
  consent: implicit
  scope: openid profile email offline_access read
  redirect_uris: ["{CALLBACK}"]
  grant_types: [authorization_code, refresh_token]
  access_token_format: opaque
  secret_refs: ["env:CLIENT_SECRET"]
---
apiVersion: tegata.dev/v1
kind: Client
metadata: {{name: service-of-the-test, tenant: traced}}
spec:
  token_endpoint_auth_method: private_key_jwt
  grant_types: [client_credentials]
  response_types: []
  scope: read
  jwks_uri: KEYS
---
apiVersion: tegata.dev/v1
kind: User
metadata: {{name: {USERNAME}, tenant: traced}}
spec:
  claims: {{name: {PERSON}, email: {EMAIL}, email_verified: true}}
  password_ref: env:PASSWORD
"""


@dataclass
class Site:
    """A database with a tenant, and what `tegata serve` needs to know of it."""

    environment: dict[str, str] = field(repr=False)
    secrets: dict[str, str] = field(repr=False)
    admin: ConnectionTarget
    key: ECKey = field(repr=False)
    keys_port: int

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.admin.psycopg_conninfo(), autocommit=True) as connection:
            connection.execute(statement.encode())


@dataclass
class Served:
    """`tegata serve`, and what it has said."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def said(self) -> list[dict[str, Any]]:
        ended, _, _ = self.log.read_text().rpartition("\n")  # the last line may be being written
        return [json.loads(line) for line in ended.splitlines()]

    def until(self, event: str, *, times: int = 1) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.log.read_text().count(f'"event": "{event}"') < times:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def counted(self) -> dict[str, float]:
        """Return the counters of spans, of all processes."""
        text = httpx2.get(f"{self.address}/metrics", timeout=PATIENCE_SECONDS, verify=False).text
        found: dict[str, float] = defaultdict(float)
        for outcome, value in re.findall(r'^tegata_trace_spans_total\{outcome="(\w+)",.*\} (\S+)$', text, re.M):
            found[outcome] += float(value)
        return found

    def counted_until(self, enough: Callable[[dict[str, float]], bool]) -> dict[str, float]:
        """Return the counters as soon as they are so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not enough(found := self.counted()):
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


@contextmanager
def served(site: Site, log: Path, **settings: str) -> Iterator[Served]:
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = site.environment | {"TEGATA_PORT": str(port), "TEGATA_BASE_URL": address} | settings
    with log.open("wb") as sink:
        process = WarmPopen([str(TEGATA), "serve"], env=environment, stdout=sink, stderr=subprocess.STDOUT)
    running = Served(process, address, log)
    try:
        running.until("serving", times=int(settings.get("TEGATA_WORKERS", "1")))
        yield running
    finally:
        running.stop()


@dataclass
class Flow:
    """A browser and a client that sign in, look around and leave; `seen`: every text that is nobody else's business."""

    address: str
    site: Site
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    seen: dict[str, str] = field(default_factory=dict, repr=False)

    def run(self) -> None:
        headers = {"user-agent": AGENT, "x-forwarded-for": ADDRESS, **self.headers}
        options: dict[str, Any] = {"base_url": self.address, "timeout": PATIENCE_SECONDS, "verify": False}
        with httpx2.Client(headers=headers, **options) as browser:
            code = self._signed_in(browser)
            self.seen |= {f"cookie {name}": value for name, value in browser.cookies.items()}
        with httpx2.Client(headers=headers, **options) as client:
            self._tokens(client, code)

    def _signed_in(self, browser: httpx2.Client) -> str:
        verifier, state, nonce = new_secret(), new_secret(), new_secret()
        parameters = {
            "client_id": "web-of-the-test",
            "response_type": "code",
            "redirect_uri": CALLBACK,
            "scope": "openid profile email offline_access read",
            "prompt": "consent",
            "state": state,
            "nonce": nonce,
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
        }
        page = browser.get("/traced/authorize", params=parameters, follow_redirects=True)
        csrf = unescape(re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1])  # type: ignore[index]
        handle = parse_qs(urlsplit(str(page.url)).query)["interaction"][0]
        wrong = {"csrf_token": csrf, "username": USERNAME, "password": "wrong-password-of-the-test"}
        assert browser.post(str(page.url), data=wrong).status_code == 200
        right = {**wrong, "password": self.site.secrets["PASSWORD"]}
        done = browser.post(str(page.url), data=right)
        if "/consent" in done.headers["location"]:
            asked = browser.get(done.headers["location"])
            fields = dict(re.findall(r'<input [^>]*name="([^"]+)" value="([^"]*)"', asked.text))
            answer = {name: unescape(value) for name, value in fields.items()} | {"decision": "approve"}
            done = browser.post(str(asked.url), data=answer)
        code = parse_qs(urlsplit(done.headers["location"]).query)["code"][0]
        self.seen |= {"verifier": verifier, "challenge": s256(verifier), "state": state, "nonce": nonce, "csrf": csrf}
        self.seen |= {"handle": handle, "code": code, "wrong password": wrong["password"]}
        return code

    def _tokens(self, client: httpx2.Client, code: str) -> None:
        secret = self.site.secrets["CLIENT_SECRET"]
        basic = ("web-of-the-test", secret)
        grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
        answer = client.post("/traced/token", data={**grant, "code_verifier": self.seen["verifier"]}, auth=basic)
        tokens = answer.raise_for_status().json()
        bearer = {"authorization": f"Bearer {tokens['access_token']}"}
        person = client.get("/traced/userinfo", headers=bearer).raise_for_status().json()
        assert client.post("/traced/introspect", data={"token": tokens["access_token"]}, auth=basic).json()["active"]
        fresh = (
            client.post(
                "/traced/token",
                data={"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]},
                auth=basic,
            )
            .raise_for_status()
            .json()
        )
        client.post("/traced/revoke", data={"token": fresh["refresh_token"]}, auth=basic).raise_for_status()
        again = client.post("/traced/token", data={**grant, "code_verifier": self.seen["verifier"]}, auth=basic)
        assert again.json()["error"] == "invalid_grant"
        self._service(client)
        # Secrets where they do not belong: in a path, in a query, in headers that tracing reads.
        astray = f"astray-{new_secret()}"
        self.seen["astray"] = astray
        assert client.get(f"/{astray}/token").status_code == 405
        assert client.get(f"/traced/{astray}?access_token={astray}").status_code == 404
        headers = {"traceparent": astray, "tracestate": f"a={astray}", "baggage": f"a={astray}", "host": astray}
        assert client.get(f"/traced/userinfo?access_token={astray}", headers=headers).status_code == 400
        self.seen |= {"basic": base64.b64encode(f"web-of-the-test:{secret}".encode()).decode(), "sub": person["sub"]}
        self.seen |= {f"{name} again": value for name, value in fresh.items() if name.endswith("_token")}
        self.seen |= {name: value for name, value in tokens.items() if name.endswith("_token")}

    def _service(self, client: httpx2.Client) -> None:
        """Get a token for a client whose key is at an address of its own."""
        now = int(time.time())
        name = "service-of-the-test"
        claims = {"iss": name, "sub": name, "aud": f"{self.address}/traced", "jti": new_secret(), "iat": now}
        assertion = jwt.encode({"alg": "ES256", "kid": "of-the-test"}, {**claims, "exp": now + 60}, self.site.key)
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        token = client.post("/traced/token", data=form).raise_for_status().json()["access_token"]
        self.seen |= {"assertion": assertion, "jti": str(claims["jti"]), "token of the service": token}


def spellings(text: str) -> Iterator[bytes]:
    """Yield a text as it could stand in bytes: itself, in other alphabets, and the parts of a JWT."""
    for part in {text, *(part for part in text.split(".") if len(part) > 20)}:
        raw = part.encode()
        yield from (raw, quote(part, safe="").encode(), raw.hex().encode())
        yield base64.b64encode(raw)[:-4].rstrip(b"=")
        yield base64.urlsafe_b64encode(raw)[:-4].rstrip(b"=")
    if re.fullmatch(r"[0-9a-f-]{36}", text):
        yield UUID(text).bytes
