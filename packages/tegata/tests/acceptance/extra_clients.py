"""Clients that the examples do not have, added to tenant `demo` of a running server with `tegata apply`."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from tegata.testing.warm_starts import run_to_its_end

from .contract import Client, Dev
from .dev_server import TEGATA, clean_environment, locked

CALLBACKS = ("http://127.0.0.1:9000/callback", "http://localhost:9000/callback")
WITHOUT_PKCE = {"profile": "oidc-legacy", "require_pkce": False}

# What each client has that differs from a web application with a secret.
CHOICES: dict[str, dict[str, Any]] = {
    "legacy": WITHOUT_PKCE,
    "legacypost": WITHOUT_PKCE | {"token_endpoint_auth_method": "client_secret_post"},
    "es256": {"id_token_signed_response_alg": "ES256", "access_token_signed_response_alg": "RS256"},
    "opaque": {"access_token_format": "opaque"},
    "pairwise": {"subject_type": "pairwise", "redirect_uris": [CALLBACKS[0]]},
    "pairwise2": {"subject_type": "pairwise", "redirect_uris": [CALLBACKS[1]]},
    "firstparty": {"consent": "implicit"},
    "disabled": {"disabled": True},
}


def tegata(
    home: Path, *arguments: str, given: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run an operator's command on the data of a running `tegata dev`."""
    return run_to_its_end([TEGATA, *arguments], input=given, env=clean_environment(home, **environment), timeout=180)


def be_patient(home: Path) -> None:
    """Let lost answers of refreshes be asked for again for as long as a test takes on a busy machine."""
    for tenant in ("demo", "other"):
        exported = tegata(home, "export", "--tenant", tenant)
        documents = list(yaml.safe_load_all(exported.stdout))
        for document in documents:
            if document["kind"] == "Tenant":
                document["spec"]["refresh_token_grace_seconds"] = 300
        done = tegata(home, "apply", "-f", "-", given=yaml.safe_dump_all(documents, allow_unicode=True))
        assert done.returncode == 0, exported.stderr + done.stdout + done.stderr


def add_extra_clients(home: Path, dev: Dev) -> Dev:
    """Apply the clients, and give what dev.json would say with them. Doing it again changes nothing."""
    secret = _secret(dev)
    documents = [_document(name, choice) for name, choice in CHOICES.items()]
    mark = hashlib.sha256(str(home).encode()).hexdigest()[:16]
    with locked(Path(tempfile.gettempdir(), f"tegata-apply-{os.getuid()}-{mark}")):
        done = tegata(home, "apply", "-f", "-", given=yaml.safe_dump_all(documents), TEGATA_TEST_SECRET=secret)
    assert done.returncode == 0, done.stdout + done.stderr
    added = tuple(_client(document["metadata"]["name"], document["spec"], secret) for document in documents)
    tenants = (
        replace(tenant, clients=tenant.clients + added) if tenant.name == "demo" else tenant for tenant in dev.tenants
    )
    return replace(dev, tenants=tuple(tenants))


def _secret(dev: Dev) -> str:
    """The same for every worker process of a run, another for every server."""
    return hashlib.sha256(f"extra:{dev.tenant('demo').client('web').client_secret}".encode()).hexdigest()


def _document(name: str, choice: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "client_name": f"Test client {name}",
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token"],
        "secret_refs": ["env:TEGATA_TEST_SECRET"],
        "redirect_uris": list(CALLBACKS),
        "post_logout_redirect_uris": ["http://127.0.0.1:9000/"],
    }
    return {
        "apiVersion": "tegata.dev/v1",
        "kind": "Client",
        "metadata": {"name": f"demo-{name}", "tenant": "demo"},
        "spec": spec | choice,
    }


def _client(client_id: str, spec: dict[str, Any], secret: str) -> Client:
    return Client(
        client_id=client_id,
        client_secret=secret,
        token_endpoint_auth_method=spec["token_endpoint_auth_method"],
        redirect_uris=tuple(spec["redirect_uris"]),
        grant_types=tuple(spec["grant_types"]),
        post_logout_redirect_uris=tuple(spec["post_logout_redirect_uris"]),
        jwks=None,
    )
