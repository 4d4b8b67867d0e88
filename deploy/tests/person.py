"""Somebody who signs in with a browser, over TLS, at an installation that is a stranger to this process."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx2

from tegata.crypto.digests import s256
from tegata.testing.relying_party import Page
from tegata.testing.server import Reply


class Person:
    """A browser with a cookie jar that trusts one certificate, and the client it is sent to by."""

    def __init__(self, url: str, certificate: Path, tenant: str, client: str, callback: str) -> None:
        self.url, self.tenant, self.client, self.callback = url, tenant, client, callback
        context = ssl.create_default_context(cafile=str(certificate))
        self.browser = httpx2.Client(base_url=url, verify=context, trust_env=False, timeout=60)

    def __enter__(self) -> Person:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.browser.close()

    def sign_in(self, username: str, password: str, **headers: str) -> dict[str, Any]:
        """Run through the pages; return the answer of the token endpoint."""
        verifier, state = secrets.token_urlsafe(32), secrets.token_urlsafe(8)
        wanted = {
            "client_id": self.client,
            "redirect_uri": self.callback,
            "response_type": "code",
            "scope": "openid profile",
            "state": state,
            "nonce": secrets.token_urlsafe(8),
            "code_challenge": s256(verifier),
            "code_challenge_method": "S256",
        }
        page = self._follow(self.browser.get(f"/{self.tenant}/authorize?{urlencode(wanted)}", headers=headers))
        form = Page(Reply(str(page.url), page.status_code, (), page.content)).forms["login-form"]
        fields = {**form.fields, "username": username, "password": password}
        done = self._follow(self.browser.post(form.action, data=fields, headers={"origin": self.url, **headers}))
        answer = dict(parse_qsl(urlsplit(done.headers["location"]).query))
        assert answer["state"] == state
        told = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": self.callback,
            "code_verifier": verifier,
            "client_id": self.client,
        }
        token = self.browser.post(f"/{self.tenant}/token", data=told)
        assert token.status_code == 200, token.text
        document: dict[str, Any] = token.json()
        return document

    def _follow(self, answer: httpx2.Response) -> httpx2.Response:
        """Go where it leads, as long as that is the installation itself."""
        while (location := answer.headers.get("location")) is not None:
            target = urljoin(str(answer.url), location)
            if not target.startswith(self.url + "/"):
                return answer
            answer = self.browser.get(target)
        assert answer.status_code == 200, answer.text
        return answer
