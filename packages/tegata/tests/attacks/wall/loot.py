"""Everything that the people and clients of one tenant hold, to be tried at another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from urllib.parse import unquote

from tegata.testing.relying_party import Browser, Page, RelyingParty, handle_in
from tegata.testing.server import Reply, Server


@dataclass(slots=True)
class Watched(Server):
    """The same server, with somebody who reads every answer of `acme`."""

    marks: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    requests: int = 0

    async def request(
        self,
        method: str,
        target: str,
        *,
        fields: Mapping[str, str] | Sequence[tuple[str, str]] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        address: str = "192.0.2.1",
    ) -> Reply:
        reply = await Server.request(self, method, target, fields=fields, body=body, headers=headers, address=address)
        if "/acme/" in target:
            self.requests += 1
            # What was sent may come back to whoever sent it.
            sent = f"{unquote(target)} {fields} {headers}"
            shown = reply.text + " ".join(f"{name}: {value}" for name, value in reply.headers)
            self.told += [f"{method} {target}: {mark}" for mark in self.marks if mark in shown and mark not in sent]
        return reply


@dataclass(slots=True)
class Loot:
    """What tenant `other` has. `values`: each thing by its name; none of them is ever told to anybody else."""

    server: Server
    browser: Browser
    party: RelyingParty
    opaque_party: RelyingParty
    service: RelyingParty
    values: dict[str, str] = field(default_factory=dict)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies as they are, and under the names that `acme` uses."""
        mine = self.browser.cookies
        return mine | {name.replace("-other", "-acme"): value for name, value in mine.items()}

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def basic(self, client: RelyingParty) -> dict[str, str]:
        return client.credentials()[0]

    def marks(self) -> set[str]:
        """What must not stand in any answer of `acme`: secrets, ids, the issuer and the keys of `other`."""
        tenant = self.server.tenants["other"]
        ids = {str(user) for user in tenant.users.values()} | {str(tenant.tenant_id), tenant.issuer}
        secrets = set(tenant.secrets.values())
        return ids | secrets | set(self.values.values()) | set(self.browser.cookies.values()) | self.kids()

    def kids(self) -> set[str]:
        return {kid for kid in self.values.get("kids", "").split(",") if kid}

    def watched(self) -> Watched:
        """From now on, read what `acme` answers."""
        known = {each.name: getattr(self.server, each.name) for each in fields(Server)}
        self.server = Watched(**known, marks=self.marks())
        return self.server

    async def is_whole(self) -> list[str]:
        """Use everything at home; return what does not work any more."""
        broken = []
        for name in ("access token", "opaque token", "refresh token"):
            party = self.opaque_party if name == "opaque token" else self.party
            if not (await party.introspect(self.values[name]))["active"]:
                broken.append(name)
        if (await self.party.userinfo(self.values["access token"])).status != 200:
            broken.append("userinfo")
        reply = await self.browser.get(self.party.url(prompt="none"))
        if "code" not in self.party.answer(reply):
            broken.append("session")
        if (
            await Browser(self.party.server).get(f"/other/sign-in?interaction={self.values['interaction']}")
        ).status != 200:
            broken.append("interaction")
        if (await self.party.redeem(self.values["code"])).status != 200:
            broken.append("code")
        if (await self.party.refresh(self.values["refresh token"])).status != 200:
            broken.append("refresh")
        return broken


async def plunder(server: Server) -> Loot:
    """Let a user of `other` sign in everywhere, and keep what that leaves."""
    browser = Browser(server)
    party = RelyingParty(server, tenant_name="other")
    opaque_party = RelyingParty(server, client_id="opaque", tenant_name="other")
    loot = Loot(server, browser, party, opaque_party, RelyingParty(server, client_id="service", tenant_name="other"))
    waiting = await Browser(server).get(party.url())
    tokens = await party.sign_in(browser, scope="openid profile email offline_access read")
    opaque = await opaque_party.sign_in(browser, scope="openid profile")
    answer = await party.authorize(browser)
    logout = Page(await browser.get("/other/end_session")).forms["logout-form"]
    keys = (await server.request("GET", "/other/jwks")).json["keys"]
    loot.values = {
        "access token": tokens["access_token"],
        "refresh token": tokens["refresh_token"],
        "id token": tokens["id_token"],
        "opaque token": opaque["access_token"],
        "code": answer["code"],
        "code verifier": party.code_verifier,
        "interaction": handle_in(waiting.url),
        "form token": logout.fields["csrf_token"],
        "assertion": server.tenants["other"].assertion(server.clock()),
        "session cookie": browser.cookies["__Host-tegata-session-other"],
        "client secret": server.tenants["other"].secrets["web"],
        "subject": str(server.tenants["other"].users["taro"]),
    }
    loot.values["kids"] = ",".join(str(key["kid"]) for key in keys)
    return loot
