"""What `tegata dev` tells: `dev.json`, the terminal and the landing page, all from one seed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tegata.cli.dev.seeding import PLAYGROUND_CLIENT, PLAYGROUND_TENANT, Seed
from tegata.cli.version import installed_version
from tegata.web.developer import DeveloperPages
from tegata.web.pages import Command, LandingClient, LandingPage, LandingTenant, LandingUser, Link, PlaygroundPage

API_PREFIX = "/example-api"


def dev_document(seed: Seed, base_url: str) -> dict[str, Any]:
    """Return the content of `dev.json`."""
    return {
        "base_url": base_url,
        "tenants": [
            {
                "name": name,
                "issuer": f"{base_url}/{name}",
                "users": _users(seed, name),
                "clients": _clients(seed, name),
                "resources": [resource.identifier for resource in policy.resources],
            }
            for name, policy in seed.policies().items()
        ],
    }


def dev_text(seed: Seed, base_url: str) -> str:
    """Return `dev.json` as text."""
    return json.dumps(dev_document(seed, base_url), indent=2, ensure_ascii=False) + "\n"


def _users(seed: Seed, tenant: str) -> list[dict[str, Any]]:
    return [
        {"username": user.metadata.name, "password": seed.password(user), "roles": list(user.spec.roles)}
        for user in seed.users(tenant)
    ]


def _clients(seed: Seed, tenant: str) -> list[dict[str, Any]]:
    told = []
    for client in seed.clients(tenant):
        entry: dict[str, Any] = {"client_id": client.metadata.name}
        if (secret := seed.secret(client)) is not None:
            entry["client_secret"] = secret
        entry["token_endpoint_auth_method"] = client.spec.token_endpoint_auth_method
        entry["redirect_uris"] = list(client.spec.redirect_uris)
        entry["grant_types"] = list(client.spec.grant_types)
        if (jwks := seed.private_keys(client)) is not None:
            entry["jwks"] = jwks
        told.append(entry)
    return told


def commands(seed: Seed, base_url: str) -> tuple[Command, ...]:
    """Return three lines for a shell; each works by itself."""
    tenant = next(iter(seed.policies()))
    issuer = f"{base_url}/{tenant}"
    service = next(client for client in seed.clients(tenant) if "client_credentials" in client.spec.grant_types)
    login = f"-u {service.metadata.name}:{seed.secret(service)}"
    get_token = f"curl -sS {login} -d grant_type=client_credentials -d scope=read {issuer}/token"
    token = f'$({get_token} | sed -E \'s/.*"access_token": ?"([^"]*)".*/\\1/\')'
    return (
        Command("Get an access token for a service", get_token),
        Command("Ask the server about that token", f"curl -sS {login} -d token={token} {issuer}/introspect"),
        Command(
            "Call the protected example API with it",
            f'curl -sS -H "Authorization: Bearer {token}" {base_url}{API_PREFIX}/experiments',
        ),
    )


def landing_page(seed: Seed, base_url: str) -> LandingPage:
    """Return the console at `/`."""
    tenants = tuple(
        LandingTenant(
            name=name,
            issuer=f"{base_url}/{name}",
            users=_landing_users(seed, name),
            clients=tuple(
                LandingClient(
                    client.metadata.name,
                    seed.secret(client),
                    client.spec.token_endpoint_auth_method,
                    client.spec.redirect_uris,
                    client.spec.grant_types,
                )
                for client in seed.clients(name)
            ),
            resources=tuple(resource.identifier for resource in policy.resources),
        )
        for name, policy in seed.policies().items()
    )
    links = (Link("Example API (OpenAPI)", f"{API_PREFIX}/openapi.json"), Link("Health", "/readyz"))
    return LandingPage(base_url, tenants, commands(seed, base_url), links, version=installed_version())


def playground_page(seed: Seed, base_url: str) -> PlaygroundPage:
    """Return the playground, which signs in at the demo tenant."""
    issuer = f"{base_url}/{PLAYGROUND_TENANT}"
    return PlaygroundPage(
        issuer=issuer,
        authorization_endpoint=f"{issuer}/authorize",
        token_endpoint=f"{issuer}/token",
        userinfo_endpoint=f"{issuer}/userinfo",
        end_session_endpoint=f"{issuer}/end_session",
        client_id=PLAYGROUND_CLIENT,
        redirect_uri=f"{base_url}/playground",
        api_uri=f"{base_url}{API_PREFIX}/experiments",
        users=_landing_users(seed, PLAYGROUND_TENANT),
    )


def developer_pages(seed: Seed, base_url: str) -> DeveloperPages:
    """Return both pages."""
    return DeveloperPages(landing_page(seed, base_url), playground_page(seed, base_url))


def audiences(seed: Seed) -> list[str]:
    """Return what the example API answers to: the demo tenant's audiences and resources."""
    policy = seed.policies()[PLAYGROUND_TENANT]
    return [*policy.default_audience, *(resource.identifier for resource in policy.resources)]


def welcome(seed: Seed, base_url: str, *, dev_json: str) -> Iterator[str]:
    """Yield the lines that greet the person at the terminal."""
    yield ""
    yield f"Tegata {installed_version()} is running. Console: {base_url}/"
    for name in seed.policies():
        yield ""
        yield f"Tenant {name}: issuer {base_url}/{name}"
        for user in seed.users(name):
            yield f"  user    {user.metadata.name:<14} password {seed.password(user)}  {', '.join(user.spec.roles)}"
        for client in seed.clients(name):
            secret = seed.secret(client)
            kept = f"secret {secret}" if secret else client.spec.token_endpoint_auth_method
            yield f"  client  {client.metadata.name:<14} {kept}"
    yield ""
    yield "Try it (each line works by itself when pasted into a shell):"
    for command in commands(seed, base_url):
        yield ""
        yield f"  # {command.purpose}"
        yield f"  {command.line}"
    yield ""
    yield f"All of this is in {dev_json}. Ctrl-C stops server and database."


def _landing_users(seed: Seed, tenant: str) -> tuple[LandingUser, ...]:
    return tuple(
        LandingUser(user.metadata.name, seed.password(user), user.spec.roles, user.spec.claims.get("name"))
        for user in seed.users(tenant)
    )
