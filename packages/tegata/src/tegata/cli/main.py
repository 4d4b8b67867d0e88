"""The command `tegata`. What a command needs is imported when it runs, so that `tegata --help` is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from tegata.cli.failures import explain
from tegata.cli.health import PATH, TIMEOUT_SECONDS

EXIT_CODES = (
    "Exit status: 0 done, 1 something was found or differs, 2 wrong usage, 3 something is not available, 4 too early."
)

app = typer.Typer(
    name="tegata",
    help="Multi-tenant OAuth 2.0 and OpenID Connect identity server on PostgreSQL.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
keys = typer.Typer(name="keys", help="Signing keys of a tenant, and master keys.", no_args_is_help=True)
app.add_typer(keys)
db = typer.Typer(name="db", help="The database itself: roles and schema.", no_args_is_help=True)
app.add_typer(db)

secrets = typer.Typer(
    name="secrets",
    help="Secrets that rotate, without Lambda.",
    epilog="Exit status: 0 done, 1 a person is needed, 2 wrong usage, 3 failed and nothing is lost, 4 too early.",
    no_args_is_help=True,
)
app.add_typer(secrets)

Files = Annotated[
    list[Path],
    typer.Option(
        "--file",
        "-f",
        help="YAML file, or directory of them; - reads standard input, env:NAME and awssm:NAME what is kept there. "
        "May be repeated.",
    ),
]
Prune = Annotated[
    bool,
    typer.Option(help="Also delete clients, roles and users that are not named, in the tenants and kinds that are."),
]
TenantName = Annotated[str, typer.Option("--tenant", "-t", help="Name of the tenant.")]


@app.command()
def dev(
    reset: Annotated[
        bool, typer.Option("--reset", help="Start over: delete the data of earlier starts in TEGATA_HOME.")
    ] = False,
) -> None:
    """Start Tegata on this machine, with its own PostgreSQL and two tenants to try."""
    from tegata.cli.dev.command import run

    raise typer.Exit(run(reset=reset))


@app.command()
def serve() -> None:
    """Serve in production. Refuses unsafe settings and says which."""
    from tegata.cli.serve import run

    raise typer.Exit(run())


@app.command()
def health(
    path: Annotated[
        str, typer.Option(help="/actuator/health and /readyz: may get traffic; /livez: is not stuck.")
    ] = PATH,
    timeout: Annotated[float, typer.Option(min=0.1, max=60, help="Seconds to wait, all in all.")] = TIMEOUT_SECONDS,
) -> None:
    """Ask the server that TEGATA_HOST and TEGATA_PORT name whether it is well; exit status 1 if not."""
    from tegata.cli.health import run

    raise typer.Exit(run(path, timeout))


@app.command()
def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit status 1 if something is missing.")
    ] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the whole schema as SQL instead.")] = False,
    after: Annotated[
        str | None, typer.Option(help="With --sql: only what this revision of the schema lacks, and the functions.")
    ] = None,
    bootstrap: Annotated[
        bool, typer.Option("--bootstrap", help="Make roles and schema first; needs an administrator's login.")
    ] = False,
) -> None:
    """Bring the schema to what this release needs."""
    from tegata.cli.migrate import run

    if check and bootstrap:
        raise typer.BadParameter("--check changes nothing, --bootstrap does: choose one")
    if after is not None and not sql:
        raise typer.BadParameter("--after belongs to --sql")
    raise typer.Exit(run(check=check, sql=sql, after=after, with_bootstrap=bootstrap))


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 1 also for warnings and for what could not be tried.")
    ] = False,
    wall: Annotated[
        Path | None, typer.Option("--wall", help="TOML file that describes another project's wall to examine instead.")
    ] = None,
) -> None:
    """Prove on the running database that tenants are walled off; exit status 1 if anything is found."""
    from tegata.cli.doctor import run

    raise typer.Exit(run(as_document=json, strict=strict, wall_file=wall))


@app.command()
def apply(
    files: Files,
    prune: Prune = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
) -> None:
    """Make tenants, clients, roles and users what the documents say."""
    from tegata.cli.apply import run

    raise typer.Exit(run(files, prune=prune, dry_run=dry_run))


@app.command()
def diff(files: Files, prune: Prune = False) -> None:
    """Show what apply would change; exit status 1 if it would change anything."""
    from tegata.cli.apply import run_diff

    raise typer.Exit(run_diff(files, prune=prune))


@app.command()
def export(tenant: TenantName) -> None:
    """Print a tenant as documents that apply takes, without secrets."""
    from tegata.cli.export import run

    raise typer.Exit(run(tenant))


@app.command()
def audit(
    tenant: Annotated[str, typer.Argument(help="Name of the tenant.")],
    *,
    type_prefix: Annotated[str, typer.Option("--type", help="Only types that begin so, e.g. sign_in. or token.")] = "",
    since: Annotated[str | None, typer.Option(help="A time (2026-11-21T06:30Z), or how long ago (24h, 7d).")] = None,
    until: Annotated[str | None, typer.Option(help="The same; the time itself is excluded.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000_000, help="The newest so many.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, safe to open in a spreadsheet.")] = False,
) -> None:
    """Print a tenant's audit events, newest first."""
    from tegata.cli.audit import run

    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    form: Literal["text", "json", "csv"] = "json" if as_json else "csv" if as_csv else "text"
    raise typer.Exit(run(tenant, type_prefix=type_prefix, since=since, until=until, limit=limit, form=form))


@app.command()
def purge() -> None:
    """Delete expired sessions, codes and tokens of all tenants. `tegata worker` does it by itself."""
    from tegata.cli.purge import run

    raise typer.Exit(run())


@app.command()
def worker(
    once: Annotated[bool, typer.Option("--once", help="Do everything now, and end.")] = False,
) -> None:
    """Purge, make the months of the audit log to come, rotate keys and secrets, again and again. Any number may run."""
    from tegata.cli.worker import run

    raise typer.Exit(run(once=once))


@app.command()
def schema(
    rotation: Annotated[
        bool, typer.Option("--rotation", help="Of the documents in TEGATA_ROTATION_FILE instead.")
    ] = False,
) -> None:
    """Print the JSON Schema of the documents."""
    from tegata.cli.schema import run, run_rotation

    raise typer.Exit(run_rotation() if rotation else run())


@app.command()
def settings() -> None:
    """Print the reference of all settings."""
    from tegata.cli.settings import run

    raise typer.Exit(run())


@app.command()
def version() -> None:
    """Print the version."""
    from tegata.cli.version import run

    raise typer.Exit(run())


@db.command("bootstrap")
def db_bootstrap(
    *,
    provider: Annotated[
        str, typer.Option("--for", help="plain, rds (logins by IAM) or azure (logins by Entra identities).")
    ] = "plain",
    only_print: Annotated[
        bool, typer.Option("--print", help="Change nothing: print the SQL, for psql as the administrator.")
    ] = False,
    create_database: Annotated[
        bool, typer.Option("--create-database", help="Create the database of the URL first, if it is missing.")
    ] = False,
    app_object_id: Annotated[str | None, typer.Option(help="azure: object id of the server's identity.")] = None,
    maintenance_object_id: Annotated[
        str | None, typer.Option(help="azure: object id of the identity for apply, purge and keys.")
    ] = None,
    migrator_object_id: Annotated[
        str | None, typer.Option(help="azure: object id of the identity for migrate and doctor.")
    ] = None,
    passwords: Annotated[
        str | None, typer.Option(help="plain: file of lines ROLE=PASSWORD; - reads standard input.")
    ] = None,
    generate_passwords: Annotated[
        bool, typer.Option("--generate-passwords", help="plain: new random passwords for the logins, printed once.")
    ] = False,
    alternating: Annotated[
        bool,
        typer.Option("--alternating", help="plain: two logins that take turns for each role, and who rotates them."),
    ] = False,
) -> None:
    """Make roles and schema, and mend them where they have drifted. Needs an administrator's login."""
    from tegata.cli.db import Wanted, run

    identities = {"app": app_object_id, "maintenance": maintenance_object_id, "migrator": migrator_object_id}
    wanted = Wanted(provider, identities, passwords, generate_passwords, alternating)
    raise typer.Exit(run(wanted, only_print=only_print, create=create_database))


@keys.command("list")
def keys_list(tenant: TenantName) -> None:
    """List a tenant's signing keys."""
    from tegata.cli.keys import run_list

    raise typer.Exit(run_list(tenant))


@keys.command("rotate")
def keys_rotate(
    *,
    tenant: Annotated[str | None, typer.Option("--tenant", "-t", help="Name of the tenant.")] = None,
    algorithm: Annotated[str | None, typer.Option(help="ES256 or RS256; both if left out.")] = None,
    schedule: Annotated[
        bool, typer.Option("--schedule", help="Only what TEGATA_SIGNING_KEY_DAYS says is due, of every tenant.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --schedule: print a JSON object.")] = False,
) -> None:
    """Sign with the next key from now on, and prepare another one."""
    from tegata.cli.keys import run_rotate, run_schedule

    if schedule:
        if algorithm is not None:
            raise typer.BadParameter("--algorithm and --schedule exclude each other")
        raise typer.Exit(run_schedule(tenant, as_document=as_json))
    if tenant is None:
        raise typer.BadParameter("name a --tenant, or let --schedule rotate what is due")
    if as_json:
        raise typer.BadParameter("--json belongs to --schedule")
    raise typer.Exit(run_rotate(tenant, algorithm))


@keys.command("new-master-key")
def keys_new_master_key() -> None:
    """Print a new value for TEGATA_MASTER_KEY."""
    from tegata.cli.keys import run_new_master_key

    raise typer.Exit(run_new_master_key())


SecretName = Annotated[str, typer.Argument(metavar="NAME", help="As `tegata secrets status` calls it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object, for programs.")]


@secrets.command("rotate")
def secrets_rotate(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="As `tegata secrets status` calls it; or use --due.")
    ] = None,
    *,
    due: Annotated[bool, typer.Option("--due", help="All that are old enough, and all that are unfinished.")] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=86_400, help="Seconds to wait for caches and replicas, all in all.")
    ] = 0.0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Give up the unfinished rotation, whose value can never work.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Rotate a secret, or go on with the rotation that is unfinished."""
    from tegata.cli.rotation.command import run_rotate

    if due == (name is not None):
        raise typer.BadParameter("name one secret, or say --due")
    if anew and due:
        raise typer.BadParameter("--anew is for one secret")
    raise typer.Exit(run_rotate(name, wait=wait, anew=anew, as_document=as_json))


@secrets.command("status")
def secrets_status(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One secret; all if left out.")] = None,
    *,
    probe: Annotated[bool, typer.Option(help="Also try each value where it is used.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show versions, ages, what is unfinished, whether each value works, and when the next rotation is due."""
    from tegata.cli.rotation.command import run_status

    raise typer.Exit(run_status(name, probe=probe, as_document=as_json))


@secrets.command("rollback")
def secrets_rollback(
    name: SecretName,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make the previous value current again, if it still works."""
    from tegata.cli.rotation.command import run_rollback

    raise typer.Exit(run_rollback(name, yes=yes, as_document=as_json))


@secrets.command("create")
def secrets_create(
    name: SecretName,
    *,
    at: Annotated[
        str | None, typer.Option(help="Where the database of two logins is: postgresql://db.example.com:5432/tegata")
    ] = None,
) -> None:
    """Make a secret that is kept in files, and rotate it for the first time."""
    from tegata.cli.rotation.command import run_create

    raise typer.Exit(run_create(name, at=at))


@secrets.command("setup")
def secrets_setup(
    name: SecretName,
    *,
    rotator: Annotated[str, typer.Option(help="The role that may set the two passwords, and nothing else.")] = (
        "tegata_rotator"
    ),
) -> None:
    """Print the SQL that makes two logins that take turns, and who sets their passwords; an administrator runs it."""
    from tegata.cli.rotation.command import run_setup

    raise typer.Exit(run_setup(name, rotator))


def main() -> None:
    """Run the command line. Errors of ordinary life are told without a traceback."""
    try:
        app()
    except Exception as error:
        failure = explain(error)
        if failure is not None:
            print(f"tegata: {failure}", file=sys.stderr)
            sys.exit(failure.exit_code)
        raise
