"""Clients that redeem codes and rotate refresh tokens without pause, and a ledger of every answer they were given."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2

from tegata.crypto.digests import digest_of, new_secret, s256
from tegata.crypto.envelope import Envelope
from tegata.crypto.keys import generate_key, private_bytes, public_jwk
from tegata.flows.directory import SIGNING_KEY_PURPOSE
from tegata.identifiers import Digest
from tegata.postgres.storage import PostgresOperatorStorage
from tegata.protocol.client import Client, ClientMetadata, ClientSecret
from tegata.protocol.policy import TenantPolicy
from tegata.storage.records import SigningKeyRecord
from tegata.testing.records import Inhabited, inhabit
from tegata.testing.relying_party import claims_of

BASE_URL = "https://id.example.com"
REDIRECT = "https://app.example/cb"
VERIFIER = "v" * 43
# Lost answers may be asked for again for as long as a test takes.
_POLICY = TenantPolicy(refresh_token_grace_seconds=300, id_token_signing_alg="ES256")


@dataclass(frozen=True, slots=True)
class House:
    """A tenant that a server can serve: with a key, a client that has a secret, and a person."""

    who: Inhabited
    client: Client
    secret: str = field(repr=False)

    @property
    def issuer(self) -> str:
        return f"{BASE_URL}/{self.who.name}"


async def furnish(operator: PostgresOperatorStorage, envelope: Envelope) -> House:
    """Make a tenant that a server can serve."""
    who = await inhabit(operator)
    await operator.update_tenant(who.tenant_id, _POLICY, events=[])
    key = generate_key("ES256")
    public = public_jwk(key)
    sealed = envelope.seal(private_bytes(key), tenant=str(who.tenant_id), purpose=SIGNING_KEY_PURPOSE)
    now = time.time()
    record = SigningKeyRecord(public["kid"], "ES256", "active", public, sealed, now, now)
    await operator.add_key(who.tenant_id, record, events=[])
    secret = new_secret()
    metadata = ClientMetadata(redirect_uris=(REDIRECT,), grant_types=("authorization_code", "refresh_token"))
    client = Client("web", metadata, (ClientSecret(digest_of(secret)),))
    await operator.put_client(who.tenant_id, client, events=[])
    return House(who, client, secret)


async def make_codes(operator: PostgresOperatorStorage, house: House, count: int) -> list[str]:
    """Return codes as if the person had just consented that often."""
    codes = [new_secret() for _ in range(count)]
    now = time.time()
    for text in codes:
        grant = replace(house.who.grant(offline=True), resources=(), scopes=("openid",), created_at=now)
        code = replace(
            house.who.code(grant, expires_at=now + 3600),
            digest=Digest(digest_of(text)),
            redirect_uri=REDIRECT,
            code_challenge=s256(VERIFIER),
        )
        assert await operator.store_code(house.who.tenant_id, code, interaction=None, events=[])
    return codes


@dataclass(slots=True)
class Ledger:
    """What was answered. A token in `acknowledged` came with status 200, so it has to be good from then on."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    redeemed: Counter[str] = field(default_factory=Counter)
    successors: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    longest_seconds: float = 0.0

    def note(self, house: House, answer: httpx2.Response) -> dict[str, Any] | None:
        """Keep count of an answer; return the document of a success."""
        document = answer.json()
        self.statuses[f"{answer.status_code} {document.get('error', '')}".strip()] += 1
        if answer.status_code == 200:
            claims = claims_of(document["access_token"])
            if (claims["iss"], claims["sub"]) != (house.issuer, str(house.who.user_id)):
                self.faults.append(f"{house.who.name} got a token of {claims['iss']} for {claims['sub']}")
            return dict(document)
        if answer.status_code == 503:
            if "retry-after" not in answer.headers:
                self.faults.append("a 503 does not say when to try again")
        elif (answer.status_code, document.get("error")) != (400, "invalid_grant"):
            self.faults.append(f"{answer.status_code} {answer.text}")
        return None


class Clients:
    """Relying parties of several tenants on one server. They try again for as long as they are told to."""

    def __init__(self, address: str, ledger: Ledger) -> None:
        self.address = address
        self.ledger = ledger
        self.current: list[tuple[House, str]] = []  # the last refresh token that each chain was given
        self.stopped = asyncio.Event()
        self._http = httpx2.AsyncClient(
            base_url=address, timeout=60, limits=httpx2.Limits(max_connections=64), trust_env=False
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, house: House, **form: str) -> dict[str, Any] | int | None:
        """Ask the token endpoint: the document of a success, the status of a refusal, None if nobody answered."""
        began = time.monotonic()
        try:
            answer = await self._http.post(f"/{house.who.name}/token", data=form, auth=("web", house.secret))
        except httpx2.TransportError as error:
            self.ledger.statuses[type(error).__name__] += 1
            return None
        finally:
            self.ledger.longest_seconds = max(self.ledger.longest_seconds, time.monotonic() - began)
        return self.ledger.note(house, answer) or answer.status_code

    async def redeem(self, house: House, code: str) -> str | None:
        """Redeem a code, again and again until there is an answer; return the refresh token."""
        while True:
            found = await self.ask(
                house, grant_type="authorization_code", code=code, redirect_uri=REDIRECT, code_verifier=VERIFIER
            )
            if isinstance(found, dict):
                self.ledger.redeemed[code] += 1
                return str(found["refresh_token"])
            if found == 400:
                return None
            await asyncio.sleep(0.02)

    async def rotate(self, house: House, token: str) -> str | None:
        """Rotate a refresh token, again and again until there is an answer."""
        while True:
            found = await self.ask(house, grant_type="refresh_token", refresh_token=token)
            if isinstance(found, dict):
                successor = str(found["refresh_token"])
                self.ledger.successors[token].add(successor)
                return successor
            if found == 400:
                self.ledger.faults.append("a refresh token that was acknowledged is refused")
                return None
            await asyncio.sleep(0.02)

    async def live(self, house: House, codes: list[str]) -> None:
        """Redeem a code, rotate what it gave a few times, and begin again with the next code until told to stop."""
        while codes and not self.stopped.is_set():
            token = await self.redeem(house, codes.pop())
            for _ in range(3):
                if token is not None:
                    token = await self.rotate(house, token)
            if token is not None:
                self.current.append((house, token))

    async def is_served(self, house: House) -> bool:
        """Whether a request that needs the database is answered. Not counted."""
        form = {"grant_type": "refresh_token", "refresh_token": secrets.token_urlsafe(8)}
        try:
            answer = await self._http.post(f"/{house.who.name}/token", data=form, auth=("web", house.secret))
        except httpx2.TransportError:
            return False
        return answer.status_code == 400

    async def status(self, path: str) -> int:
        """Return the status that an address answers with. Not counted."""
        return (await self._http.get(path)).status_code
