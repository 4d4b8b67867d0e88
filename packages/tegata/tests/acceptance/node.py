"""Call the scripts in `npm/`: clients that npm's libraries make, one process for each step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NoReturn

import pytest

from .contract import Client, Tenant

FOLDER = Path(__file__).with_name("npm")


def missing(what: str) -> NoReturn:
    """Skip, naming the software; with TEGATA_ACCEPTANCE_COMPLETE set nothing may be missing, and it fails."""
    if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
        pytest.fail(f"missing: {what}")
    pytest.skip(f"needs {what}")


def run(script: str, **asked: Any) -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        missing("Debian package nodejs")
    if not (FOLDER / "node_modules" / "openid-client").is_dir():
        missing(f"npm packages openid-client and jose: npm ci in {FOLDER.name}/")
    done = subprocess.run(
        [node, script], cwd=FOLDER, input=json.dumps(asked).encode(), capture_output=True, timeout=180, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def step(name: str, tenant: Tenant, client: Client, **asked: Any) -> dict[str, Any]:
    """One step of the openid-client script in the name of `client`."""
    return run(
        "openid_client.mjs",
        **{
            "step": name,
            "issuer": tenant.issuer,
            "client_id": client.client_id,
            "client_secret": client.client_secret,
            "method": client.token_endpoint_auth_method,
            "jwks": client.jwks,
        }
        | asked,
    )


def succeeded(result: dict[str, Any]) -> dict[str, Any]:
    assert "failed" not in result, result["failed"]
    return result
