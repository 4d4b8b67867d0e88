"""apply, diff, export, keys, migrate and doctor on a real database, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tegata.cli.failures import CommandFailure
from tegata.cli.main import app
from tegata.crypto.envelope import new_master_key
from tegata.postgres.target import ConnectionTarget
from tegata.testing.clusters import MigratedDatabase

DOCUMENTS = """
apiVersion: tegata.dev/v1
kind: Tenant
metadata: {name: NAME}
spec: {display_name: Acme, scopes: [{name: read}]}
---
apiVersion: tegata.dev/v1
kind: Role
metadata: {name: member, tenant: NAME}
spec: {permissions: ["orders:read"]}
---
apiVersion: tegata.dev/v1
kind: Client
metadata: {name: web, tenant: NAME}
spec:
  redirect_uris: [https://app.example/callback]
  scope: openid read
  secret_refs: [env:WEB_SECRET]
---
apiVersion: tegata.dev/v1
kind: User
metadata: {name: jo, tenant: NAME}
spec:
  password_ref: env:JO_PASSWORD
  roles: [member]
  claims: {name: 山田 太郎, email: jo@acme.example, email_verified: true}
"""

Tegata = Callable[..., Result]


def url(target: ConnectionTarget) -> str:
    return target.psycopg_conninfo()


@pytest.fixture
def tegata(migrated_database: MigratedDatabase, tmp_path: Path) -> Tegata:
    """Run a command; more settings as keywords."""
    settings = {
        "TEGATA_HOME": str(tmp_path / "none"),
        "TEGATA_MAINTENANCE_DATABASE_URL": url(migrated_database.maintenance),
        "TEGATA_MIGRATION_DATABASE_URL": url(migrated_database.admin),
        "TEGATA_DATABASE_URL": url(migrated_database.app),
        "TEGATA_MASTER_KEY": MASTER_KEY,
        "WEB_SECRET": "a-machine-secret-of-forty-three-characters-",
        "JO_PASSWORD": "correct horse battery staple",
    }

    def run(*words: str, stdin: str | None = None, **changed: str) -> Result:
        return CliRunner().invoke(app, words, input=stdin, env=settings | changed)  # type: ignore[return-value]

    return run


MASTER_KEY = new_master_key()


@pytest.fixture
def documents(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file about a tenant of this test's own."""
    path = tmp_path / "tenant.yaml"
    path.write_text(DOCUMENTS.replace("NAME", tenant_of(request)))
    return path


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return tenant_of(request)


def tenant_of(request: pytest.FixtureRequest) -> str:
    return request.node.name.removeprefix("test_").replace("_", "-")[:60].rstrip("-")


def test_documents_come_from_a_variable_where_there_is_no_file(tegata: Tegata, documents: Path, name: str) -> None:
    """A one-off task of a container service has neither files nor a standard input."""
    applied = tegata("apply", "-f", "env:TENANT_DOCUMENTS", TENANT_DOCUMENTS=documents.read_text())
    assert applied.exit_code == 0, applied.output
    assert f"+ Tenant {name}" in applied.output
    assert tegata("diff", "-f", str(documents)).exit_code == 0


def test_a_variable_that_is_not_there_is_told(tegata: Tegata) -> None:
    refused = tegata("apply", "-f", "env:TENANT_DOCUMENTS")
    assert isinstance(refused.exception, CommandFailure)
    assert refused.exception.exit_code == 2
    assert "the environment variable TENANT_DOCUMENTS is not set" in str(refused.exception)


def test_a_file_with_the_name_of_a_reference_is_a_file(
    tegata: Tegata, documents: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(documents.parent)
    (documents.parent / "env:DOCUMENTS").write_text(documents.read_text())
    assert f"+ Tenant {name}" in tegata("diff", "-f", "env:DOCUMENTS").output


def test_diff_then_apply_then_nothing(tegata: Tegata, documents: Path, name: str) -> None:
    first = tegata("diff", "-f", str(documents))
    assert (first.exit_code, f"+ Tenant {name}" in first.output) == (1, True)
    applied = tegata("apply", "-f", str(documents))
    assert applied.exit_code == 0, applied.output
    assert "8 created" in applied.output
    again = tegata("diff", "-f", str(documents))
    assert (again.exit_code, again.output.strip()) == (0, "0 to create, 0 to update, 0 to delete, 4 unchanged")


def test_export_can_be_applied_and_differs_in_nothing(tegata: Tegata, documents: Path, name: str) -> None:
    tegata("apply", "-f", str(documents))
    exported = tegata("export", "--tenant", name)
    assert exported.exit_code == 0
    assert "山田 太郎" in exported.output
    back = tegata("diff", "-f", "-", "--prune", stdin=exported.output)
    assert back.exit_code == 0, back.output


def test_a_dry_run_changes_nothing(tegata: Tegata, documents: Path, name: str) -> None:
    assert tegata("apply", "--dry-run", "-f", str(documents)).exit_code == 0
    assert tegata("export", "--tenant", name).exit_code != 0
    assert tegata("diff", "-f", str(documents)).exit_code == 1


def test_prune_is_a_word_of_its_own(tegata: Tegata, documents: Path, name: str) -> None:
    tegata("apply", "-f", str(documents))
    more = DOCUMENTS.replace("NAME", name).replace("name: web", "name: second")
    tegata("apply", "-f", "-", stdin=more)
    assert "0 deleted" in tegata("apply", "-f", str(documents)).output
    pruned = tegata("apply", "--prune", "-f", str(documents))
    assert f"- Client {name}/second" in pruned.output


def test_nothing_secret_is_printed(tegata: Tegata, documents: Path, name: str) -> None:
    told = tegata("apply", "-f", str(documents)).output
    changed = tegata("apply", "-f", str(documents), JO_PASSWORD="another good password")
    assert "password_ref: changed (not shown)" in changed.output
    told += changed.output + tegata("export", "--tenant", name).output
    for secret in ("correct horse", "another good", "forty-three", "argon2", MASTER_KEY):
        assert secret not in told


def test_a_directory_of_documents_is_read_in_order(tegata: Tegata, documents: Path) -> None:
    assert tegata("apply", "-f", str(documents.parent)).exit_code == 0


def test_keys_are_listed_and_rotated(tegata: Tegata, documents: Path, name: str) -> None:
    tegata("apply", "-f", str(documents))
    before = tegata("keys", "list", "-t", name).output
    assert sorted(line.split()[:2] for line in before.splitlines()) == [
        ["ES256", "active"],
        ["ES256", "next"],
        ["RS256", "active"],
        ["RS256", "next"],
    ]
    rotated = tegata("keys", "rotate", "-t", name, "--algorithm", "ES256")
    assert rotated.exit_code == 0, rotated.output
    after = tegata("keys", "list", "-t", name).output
    next_before = next(line.split()[-1] for line in before.splitlines() if line.startswith("ES256  next"))
    assert any(line.split()[:2] == ["ES256", "active"] and next_before in line for line in after.splitlines())
    assert "ES256  previous" in after
    assert "ES256: warning: " in rotated.output


def test_purge_names_every_kind_it_looks_at(tegata: Tegata) -> None:
    result = tegata("purge")
    assert result.exit_code == 0, result.output
    assert {"session", "refresh_token", "grant_record", "audit_event"} <= {
        line.split()[0] for line in result.output.splitlines()
    }


def test_migrate_says_what_it_does(tegata: Tegata) -> None:
    assert tegata("migrate", "--check").output.strip() == "the schema is up to date"
    assert tegata("migrate", "--bootstrap").exit_code == 0
    assert "create table" in tegata("migrate", "--sql").output.lower()


def test_the_doctor_finds_nothing_on_a_migrated_database(tegata: Tegata) -> None:
    result = tegata("doctor")
    assert result.exit_code == 0, result.output
    assert "nothing found" in result.output


def test_the_doctor_finds_a_table_without_a_wall(tegata: Tegata, migrated_database: MigratedDatabase) -> None:
    with psycopg.connect(migrated_database.owner.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("create table tegata.hole (tenant_id uuid not null, id uuid not null)")
        try:
            result = tegata("doctor")
        finally:
            connection.execute("drop table tegata.hole")
    assert result.exit_code == 1
    assert "T03" in result.output
