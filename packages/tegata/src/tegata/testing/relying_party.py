"""A browser with a cookie jar and a relying party, small and in this process, for tests of `tegata.testing.server`."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, quote_plus, urlencode, urljoin, urlsplit

from tegata.crypto.digests import new_secret, s256
from tegata.testing.server import CALLBACK, PASSWORD, Reply, SeededTenant, Server

_MOST_REDIRECTS = 8


@dataclass(slots=True)
class Form:
    """A form of a page: hidden fields and what stands in the inputs; buttons by id."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: dict[str, tuple[str, str] | None] = field(default_factory=dict)


class Page(HTMLParser):
    """What a page holds: forms by id, and the text of every element with an id."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.forms: dict[str, Form] = {}
        self.texts: dict[str, str] = {}
        self._url = reply.url
        self._form: Form | None = None
        self._open: list[tuple[str, str]] = []
        self.feed(reply.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = self.forms[values["id"]] = Form(urljoin(self._url, values["action"]))
        elif tag == "input" and self._form is not None:
            self._form.fields[values["name"]] = values.get("value", "")
        elif tag == "button" and self._form is not None:
            self._form.buttons[values["id"]] = (values["name"], values["value"]) if "name" in values else None
        if "id" in values and tag != "input":
            self._open.append((tag, values["id"]))
            self.texts[values["id"]] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if self._open and self._open[-1][0] == tag:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for _, identifier in self._open:
            self.texts[identifier] += data


class Browser:
    """Keeps cookies as browsers do and follows redirects, but only within the server."""

    def __init__(self, server: Server, *, address: str = "192.0.2.1", headers: Mapping[str, str] | None = None) -> None:
        self.server = server
        self.address = address
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []  # every Set-Cookie line ever received
        self._headers = dict(headers or {})

    async def get(self, target: str) -> Reply:
        """Open an address, as a person does or a link of another site."""
        return await self._follow(await self._send("GET", target))

    async def post(
        self, target: str, fields: Mapping[str, str] | Sequence[tuple[str, str]], *, cross_site: bool = False
    ) -> Reply:
        """Send a form. `cross_site`: from another site's page, so without SameSite=Lax cookies."""
        return await self._follow(await self._send("POST", target, fields, with_cookies=not cross_site))

    async def submit(self, reply: Reply, form_id: str, button: str | None = None, **fields: str) -> Reply:
        """Fill in a form of a page and press a button."""
        form = Page(reply).forms[form_id]
        pressed = form.buttons[button] if button is not None else None
        return await self.post(form.action, {**form.fields, **fields, **dict([pressed] if pressed else [])})

    async def sign_in(self, reply: Reply, username: str = "taro", password: str = PASSWORD) -> Reply:
        """Fill in the sign-in page."""
        return await self.submit(reply, "login-form", "login-submit", username=username, password=password)

    async def approve(self, reply: Reply) -> Reply:
        """Allow what the consent page asks for."""
        return await self.submit(reply, "consent-form", "consent-approve")

    async def _send(
        self,
        method: str,
        target: str,
        fields: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        *,
        with_cookies: bool = True,
    ) -> Reply:
        headers = dict(self._headers)
        if with_cookies and self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        reply = await self.server.request(method, target, fields=fields, headers=headers, address=self.address)
        for line in reply.all("set-cookie"):
            self._take_cookie(line)
        return reply

    async def _follow(self, reply: Reply) -> Reply:
        for _ in range(_MOST_REDIRECTS):
            location = reply.location
            if location is None or not location.startswith(self.server.base_url + "/"):
                return reply
            assert reply.status == 303
            reply = await self._send("GET", location)
        raise AssertionError("the server redirects in circles")

    def _take_cookie(self, line: str) -> None:
        """RFC 6265bis §5.7: what a browser would refuse is a fault of the server."""
        self.set_cookies.append(line)
        pair, *parts = line.split("; ")
        name, _, value = pair.partition("=")
        attributes = {part.partition("=")[0].lower(): part.partition("=")[2] for part in parts}
        https = self.server.base_url.startswith("https:")
        assert https or "secure" not in attributes, "a browser drops Secure cookies of plain http"
        if name.startswith("__Host-"):
            assert "secure" in attributes
            assert attributes["path"] == "/"
            assert "domain" not in attributes
        if attributes.get("max-age") == "0":
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


@dataclass(slots=True)
class RelyingParty:
    """A client of the server that runs the code flow with PKCE."""

    server: Server
    client_id: str = "web"
    tenant_name: str = "acme"
    redirect_uri: str = CALLBACK
    state: str = field(default_factory=new_secret)
    nonce: str = field(default_factory=new_secret)
    code_verifier: str = field(default_factory=new_secret)

    @property
    def tenant(self) -> SeededTenant:
        return self.server.tenants[self.tenant_name]

    def request(self, **changes: str | None) -> dict[str, str]:
        """Return the parameters of an authorization request; None takes one out."""
        parameters: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid profile",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": s256(self.code_verifier),
            "code_challenge_method": "S256",
            **changes,
        }
        return {name: value for name, value in parameters.items() if value is not None}

    def url(self, **changes: str | None) -> str:
        """Return the address that begins an authorization."""
        return f"/{self.tenant_name}/authorize?{urlencode(self.request(**changes))}"

    def answer(self, reply: Reply) -> dict[str, str]:
        """Return the parameters that reach the redirect URI, by redirect or by form_post."""
        if reply.location is not None:
            assert reply.status == 303
            assert reply.location.startswith(self.redirect_uri)
            added = reply.location.removeprefix(self.redirect_uri)
            assert added[0] == ("&" if "?" in self.redirect_uri else "?")
            return dict(parse_qsl(added[1:], strict_parsing=True))
        form = Page(reply).forms["form-post"]
        assert form.action == self.redirect_uri
        return form.fields

    async def authorize(self, browser: Browser, username: str = "taro", **changes: str | None) -> dict[str, str]:
        """Let the browser run through the pages, saying yes to everything; return the answer."""
        reply = await browser.get(self.url(**changes))
        if "/sign-in?" in reply.url:
            reply = await browser.sign_in(reply, username)
        if "/consent?" in reply.url:
            reply = await browser.approve(reply)
        return self.answer(reply)

    async def sign_in(
        self, browser: Browser | None = None, username: str = "taro", **changes: str | None
    ) -> dict[str, Any]:
        """Run the whole flow and return the token response."""
        answer = await self.authorize(browser or Browser(self.server), username, **changes)
        reply = await self.redeem(answer["code"])
        assert reply.status == 200, reply.text
        return reply.json

    async def redeem(self, code: str, **changes: str | None) -> Reply:
        """Exchange a code."""
        parameters = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.code_verifier,
            **changes,
        }
        return await self.call("token", **parameters)

    async def refresh(self, refresh_token: str, **changes: str | None) -> Reply:
        """Exchange a refresh token."""
        return await self.call("token", grant_type="refresh_token", refresh_token=refresh_token, **changes)

    async def call(self, endpoint: str, *, tenant_name: str | None = None, **parameters: str | None) -> Reply:
        """Call a back-channel endpoint with this client's authentication; at `tenant_name`, or its own tenant."""
        headers, credentials = self.credentials()
        fields = {name: value for name, value in {**credentials, **parameters}.items() if value is not None}
        target = f"/{tenant_name or self.tenant_name}/{endpoint}"
        return await self.server.request("POST", target, fields=fields, headers=headers)

    async def introspect(self, token: str) -> dict[str, Any]:
        """Ask about a token."""
        reply = await self.call("introspect", token=token)
        assert reply.status == 200, reply.text
        return reply.json

    async def userinfo(self, access_token: str, *, tenant_name: str | None = None) -> Reply:
        """Ask about the person."""
        headers = {"authorization": f"Bearer {access_token}"}
        return await self.server.request("GET", f"/{tenant_name or self.tenant_name}/userinfo", headers=headers)

    def credentials(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return headers and form fields that authenticate this client, by the method its name stands for."""
        secret = self.tenant.secrets.get(self.client_id, "")
        if self.client_id == "post":
            return {}, {"client_id": "post", "client_secret": secret}
        if self.client_id == "jwt":
            assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
            assertion = self.tenant.assertion(self.server.clock())
            return {}, {"client_assertion_type": assertion_type, "client_assertion": assertion}
        if not secret:
            return {}, {"client_id": self.client_id}
        pair = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
        return {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}, {}


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a JWT without checking anything."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert isinstance(claims, dict)
    return claims


def handle_in(url: str) -> str:
    """Return the stored request that a page's address names."""
    return dict(parse_qsl(urlsplit(url).query))["interaction"]
