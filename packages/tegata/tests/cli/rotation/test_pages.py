"""The commands of the how-to pages, run as they stand there, in a shell, on a real database."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from tegata.testing.password_server import HOST, PasswordCluster

from .conftest import TEGATA, Place

DOCS = Path(__file__).resolve().parents[5] / "docs" / "how-to"
TENANT = "{apiVersion: tegata.dev/v1, kind: Tenant, metadata: {name: acme}, spec: {}}"


def script(page: str) -> str:
    """Everything that the page says to type."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE))


def shell(text: str, environment: dict[str, str]) -> str:
    path = f"{TEGATA.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text],
        env=environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rotate_without_lambda(new_cluster: PasswordCluster, tmp_path: Path) -> None:
    with new_cluster.empty_database() as admin:
        text = script("rotate-without-lambda.md").replace("/var/lib/tegata", str(tmp_path))
        # The administrator of a test comes through the socket, everybody else by loopback, where no TLS is asked for.
        entry = f"postgresql:///{admin.database}?host={admin.host}&port={admin.port}&user=postgres"
        text = text.replace("postgresql://postgres@db.internal:5432/tegata?sslmode=verify-full", f"'{entry}'")
        text = text.replace("db.internal:5432/tegata", f"{HOST}:{admin.port}/{admin.database}")
        text = text.replace("?sslmode=verify-full", "").replace("tegata worker\n", "tegata worker --once\n")
        said = shell(text, {"TEGATA_HOME": str(tmp_path / "none")})
    assert "is current now" in said
    assert "which was the previous one, is current again" in said
    assert said.rstrip().endswith("maintenance-database: not due\nmigration-database: not due")


def test_rotate_signing_keys(place: Place) -> None:
    created = place.run("secrets", "create", "maintenance-database", "--at", place.address)
    assert created.exit_code == 0, created.output
    place.settings["TEGATA_MASTER_KEY"] = "A" * 42 + "8="
    assert place.run("apply", "-f", "-", stdin=TENANT).exit_code == 0
    said = []
    for line in script("rotate-signing-keys.md").splitlines():
        if line:
            done = place.run(*shlex.split(line)[1:])
            assert done.exit_code == 0, done.output
            said.append(done.output)
    assert any("0 rotated, 0 previous keys dropped, next due " in each for each in said)
    assert any("ES256: now signing with " in each for each in said)
