"""What `tegata dev` promises to write into `$TEGATA_HOME/dev.json`, as values the tests can read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class User:
    username: str
    password: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Client:
    client_id: str
    client_secret: str | None
    token_endpoint_auth_method: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...]
    jwks: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    issuer: str
    users: tuple[User, ...]
    clients: tuple[Client, ...]
    resources: tuple[str, ...]

    def client(self, suffix: str) -> Client:
        """The client called `<tenant>-<suffix>`."""
        wanted = f"{self.name}-{suffix}"
        for client in self.clients:
            if client.client_id == wanted:
                return client
        raise LookupError(f"dev.json has no client {wanted}")

    def user_with(self, *roles: str) -> User:
        """The first user that has every one of `roles`."""
        for user in self.users:
            if set(roles) <= set(user.roles):
                return user
        raise LookupError(f"dev.json has no user with {roles}")

    def user_without(self, *roles: str) -> User:
        """The first user that has none of `roles`."""
        for user in self.users:
            if not set(roles) & set(user.roles):
                return user
        raise LookupError(f"every user of dev.json has one of {roles}")


@dataclass(frozen=True, slots=True)
class Dev:
    base_url: str
    tenants: tuple[Tenant, ...]

    def tenant(self, name: str) -> Tenant:
        for tenant in self.tenants:
            if tenant.name == name:
                return tenant
        raise LookupError(f"dev.json has no tenant {name}")


def parse_dev(text: str) -> Dev:
    """Read dev.json; a missing member is a KeyError, because the file is an interface."""
    document = json.loads(text)
    return Dev(
        base_url=document["base_url"],
        tenants=tuple(_tenant(item) for item in document["tenants"]),
    )


def read_dev(home: Path) -> Dev:
    return parse_dev((home / "dev.json").read_text(encoding="utf-8"))


def _tenant(item: dict[str, Any]) -> Tenant:
    return Tenant(
        name=item["name"],
        issuer=item["issuer"],
        users=tuple(User(u["username"], u["password"], tuple(u["roles"])) for u in item["users"]),
        clients=tuple(_client(c) for c in item["clients"]),
        resources=tuple(item["resources"]),
    )


def _client(item: dict[str, Any]) -> Client:
    redirect_uris = tuple(item["redirect_uris"])
    # The file need not list where a client may be sent after sign-out; the registered default is the root of its host.
    after_logout = item.get("post_logout_redirect_uris") or [u.rsplit("/callback", 1)[0] + "/" for u in redirect_uris]
    return Client(
        client_id=item["client_id"],
        client_secret=item.get("client_secret"),
        token_endpoint_auth_method=item["token_endpoint_auth_method"],
        redirect_uris=redirect_uris,
        grant_types=tuple(item["grant_types"]),
        post_logout_redirect_uris=tuple(after_logout),
        jwks=item.get("jwks"),
    )
