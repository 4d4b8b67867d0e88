"""The model: every setting with its bounds, default and description."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from tegata.flows.admin.key_times import JWKS_MAX_AGE_SECONDS, KeySchedule, published_seconds_for
from tegata.identity.throttle import ThrottleLimits
from tegata.postgres.ways_in import WayRules
from tegata.settings.environment import (
    PREFIX,
    SettingsError,
    SettingsUnavailable,
    add_managed_identity,
    given_as,
    read_text,
)
from tegata.settings.references import is_reference, resolve
from tegata.storage.records import AUDIT_RETENTION_DAYS

Network = IPv4Network | IPv6Network


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(ip_network(part, strict=False) for part in value.replace(",", " ").split())


class Settings(BaseModel):
    """The settings of one process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: Literal["production", "development"] = Field(
        "production", description="`tegata dev` sets development; nothing else should."
    )
    base_url: str | None = Field(
        None, description="Where clients and browsers reach the server, e.g. https://id.example.com. Issuers begin so."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    workers: int = Field(1, ge=1, le=64, description="Server processes.")
    home: Path = Field(Path(".tegata"), description="State of `tegata dev`.")

    database_url: SecretStr | None = Field(
        None, description="PostgreSQL as the application role. Also DATABASE_URL. `tegata dev`: as an administrator."
    )
    database_reader_url: SecretStr | None = Field(
        None,
        description="A hot standby of the same PostgreSQL, as the application role, for audit searches and lists. "
        "What it has not caught up with is read from the writer.",
    )
    database_listen_url: SecretStr | None = Field(
        None,
        description="The database of TEGATA_DATABASE_URL without the pooler: changes are announced to sessions, which "
        "a transaction pooler does not give. Needed with TEGATA_DATABASE_TRANSACTION_POOLER.",
    )
    database_transaction_pooler: bool = Field(
        False,
        description="TEGATA_DATABASE_URL leads through a PgBouncer with pool_mode=transaction: nothing of a session is "
        "relied upon. Without a pooler it only costs time.",
    )
    database_auth: Literal["password", "managed_identity", "aws_iam", "secret"] = Field(
        "password",
        description="How logins prove who they are: a password in the URL, a token of Azure's managed identity, one of "
        "AWS IAM, or user and password from a secret that is read anew when it has changed. Also DATABASE_AUTH; "
        "USE_MANAGED_IDENTITY=true means managed_identity.",
    )
    database_secret: str | None = Field(
        None,
        description="With TEGATA_DATABASE_AUTH=secret, where user and password of the application role are, e.g. "
        "`awssm:tegata-prod-secret-database`, `file:/run/secrets/database.json`: a JSON object with `username` and "
        "`password`. The URLs say where the database is, and name neither.",
    )
    maintenance_database_secret: str | None = Field(None, description="The same for TEGATA_MAINTENANCE_DATABASE_URL.")
    migration_database_secret: str | None = Field(None, description="The same for TEGATA_MIGRATION_DATABASE_URL.")
    secret_cache_seconds: float = Field(
        300.0,
        ge=1,
        le=86_400,
        description="How long a secret that a running process asks for is used before it is read again. A login that "
        "the database refuses has it read at once; while the store does not answer, what is known is used for a day.",
    )
    secret_wait_seconds: float = Field(
        2.0,
        ge=0,
        le=30,
        description="How long a login that the database refuses, although the store has just confirmed its secret, "
        "waits for the end of a rotation before it fails. Less than TEGATA_DATABASE_POOL_WAIT_SECONDS: else requests "
        "are answered 503 meanwhile. More with a single user, whose password and secret change one after the other.",
    )
    database_azure_client_id: str | None = Field(
        None, description="The user-assigned identity to ask tokens for; without it the system-assigned one."
    )
    database_azure_default_credential: bool = Field(
        False,
        description="Ask for tokens as whoever runs the command, e.g. after `az login`; a command at your own desk. "
        "True where AZURE_TOKEN_CREDENTIALS, a variable of the Azure SDK, is set.",
    )
    database_aws_endpoint: str | None = Field(
        None,
        description="The name that AWS gave the instance, where the URL names another one (a CNAME, a tunnel): tokens "
        "are signed for it.",
    )
    database_aws_region: str | None = Field(
        None, description="The region tokens are signed for, where that name does not say it."
    )
    maintenance_database_url: SecretStr | None = Field(
        None, description="PostgreSQL as the maintenance role, for `tegata apply`, `export` and `keys`."
    )
    migration_database_url: SecretStr | None = Field(
        None, description="PostgreSQL as a member of the owner role, for `tegata migrate` and `doctor`."
    )
    bootstrap_database_url: SecretStr | None = Field(
        None, description="PostgreSQL as its administrator, for `tegata db bootstrap` and for nothing else."
    )
    database_pool_size: int = Field(10, ge=1, le=500, description="Connections of each worker. Also DB_POOL_SIZE.")
    database_pool_overflow: int = Field(
        0, ge=0, le=500, description="Is added to TEGATA_DATABASE_POOL_SIZE; there is one pool with one bound."
    )
    database_pool_recycle_seconds: float = Field(
        1800.0,
        ge=1,
        le=86_400,
        description="A connection is replaced after this long. Has nothing to do with the life of tokens.",
    )
    database_pool_pre_ping: bool = Field(
        True, description="Ask a connection that was idle for 30 s whether it lives before a request uses it."
    )
    database_pool_wait_seconds: float = Field(
        5.0, gt=0, le=60, description="How long a request waits for a connection before it is answered 503."
    )
    database_pool_queue: int = Field(
        500, ge=0, le=10_000, description="Requests of a worker that may wait; beyond, 503 comes at once."
    )
    database_statement_timeout_seconds: float = Field(10.0, gt=0, le=300, description="Longest statement.")

    master_key: SecretStr | None = Field(
        None,
        description="32 random bytes as base64url, which private keys are sealed under. Several, separated by "
        "commas: the first seals, all open. `tegata dev` makes its own.",
    )
    signing_key_days: float = Field(
        90.0,
        ge=0,
        le=3650,
        description="`tegata keys rotate --schedule` and `tegata worker` replace a signing key that has signed for so "
        "long; 0 means never.",
    )
    signing_key_published_seconds: int | None = Field(
        None,
        ge=1,
        le=30 * 86_400,
        description="How long a signing key has to be in the JWKS before they let it sign; without it "
        "TEGATA_JWKS_MAX_AGE_SECONDS and one minute. More where verifiers keep keys longer than they are told.",
    )
    jwks_max_age_seconds: int = Field(
        JWKS_MAX_AGE_SECONDS, ge=0, le=86_400, description="How long others may keep the JWKS: its `max-age`."
    )
    rotation_administrator: str | None = Field(
        None,
        description="Where the login is that may set the passwords of Tegata's own logins, e.g. "
        "`awssm:tegata-prod-secret-rotator`. With it `tegata worker` and `tegata secrets rotate` rotate "
        "TEGATA_DATABASE_SECRET, TEGATA_MAINTENANCE_DATABASE_SECRET and TEGATA_MIGRATION_DATABASE_SECRET.",
    )
    rotation_days: float = Field(
        30.0,
        ge=0,
        le=3650,
        description="How old a password of these logins becomes before it is rotated by itself; 0 means never.",
    )
    rotation_file: Path | None = Field(
        None, description="YAML file of more secrets to rotate, documents of the kind RotatedSecret."
    )
    rotation_ca: Path | None = Field(
        None,
        description="Certificates that databases' own are verified with while passwords are rotated; without it those "
        "that the secret names as `sslrootcert`.",
    )
    embedded_metrics: bool = Field(
        False,
        description="`tegata serve` and `tegata worker` write the figures of secrets and rotations as JSON lines on "
        "standard output as well, in the embedded format of which CloudWatch Logs makes metrics (namespace "
        "Tegata/Credentials). `tegata secrets rotate`, `create`, `status` and `rollback` write them on standard "
        "error, where they otherwise write a plain line for each access and change.",
    )
    allow_loopback_http: bool = Field(
        False,
        description="Allow http on loopback in redirect and logout URIs and as targets of outgoing calls "
        "(native apps, tests). On in development.",
    )
    allow_insecure_base_url: bool = Field(
        False, description="Start with an http base URL in production. Tokens and passwords travel in the clear."
    )
    allow_unverified_database_tls: bool = Field(
        False, description="Start with a remote database without sslmode=verify-full. Others can read its traffic."
    )
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(_networks)] = Field(
        (), description="Networks of proxies whose X-Forwarded-For is believed, separated by commas."
    )
    password_threads: int = Field(2, ge=1, le=32, description="Concurrent password checks; each takes 19 MiB.")
    password_queue: int = Field(100, ge=0, le=10_000, description="Password checks that may wait.")
    throttle_account_failures: int = Field(5, ge=1, description="Failed sign-ins for an account before pauses begin.")
    throttle_address_failures: int = Field(50, ge=1, description="The same for an address (IPv6: /64).")
    throttle_first_pause_seconds: float = Field(2.0, gt=0, description="First pause; each further one doubles.")
    throttle_longest_pause_seconds: float = Field(300.0, gt=0, le=3600, description="Longest pause. Never a lockout.")
    throttle_window_seconds: int = Field(900, ge=1, description="After so long without a failure all is forgotten.")
    audit_retention_days: int = Field(
        AUDIT_RETENTION_DAYS,
        ge=1,
        description="A month of audit events (UTC) is deleted when so many days have passed since its end.",
    )
    purge_interval_minutes: int = Field(
        10,
        ge=1,
        le=60,
        description="`tegata worker` deletes what has expired in each minute of the hour divisible by it.",
    )
    metrics_networks: Annotated[tuple[Network, ...], BeforeValidator(_networks)] = Field(
        (),
        description="Networks that may read /metrics, separated by commas; to everybody else there is none. It is the "
        "peer's own address that counts, and not through a proxy.",
    )
    traces: Literal["off", "otlp"] = Field(
        "off",
        description="`otlp`: `tegata serve` sends traces of requests to a collector, by OpenTelemetry's protocol over "
        "HTTP. Takes the extra `tegata[tracing]`; the collector and the share of requests are said by OpenTelemetry's "
        "own variables, e.g. OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_TRACES_SAMPLER.",
    )
    traces_parent: Literal["link", "proxy"] = Field(
        "link",
        description="What a `traceparent` (or what OTEL_PROPAGATORS names) of a request means. `link`: each request "
        "begins a trace of its own, which names the other one. `proxy`: what comes from TEGATA_TRUSTED_PROXIES "
        "continues the other one; only where these write that header themselves, or remove it from what clients send.",
    )
    shutdown_seconds: int = Field(20, ge=0, le=300, description="How long requests may finish after SIGTERM.")
    drain_seconds: float = Field(
        0.0, ge=0, le=120, description="How long /readyz says no before the server stops taking connections."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level to log.")
    log_format: Literal["json", "console"] = Field("json", description="Form of log lines.")

    # Where values were read that the environment only refers to, by field.
    _references: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **overrides: Any) -> Settings:
        """Read the settings, and the secrets they refer to. `overrides` (command line) win. Raises `SettingsError`."""
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, field in cls.model_fields.items():
            text = read_text(environ, name, secret=is_secret(field), problems=problems)
            if text is not None:
                values[name] = text
        add_managed_identity(environ, values, problems)
        values.update({name: value for name, value in overrides.items() if value is not None})
        references = _references_in(environ, values)
        _resolve(references, environ, values, problems)
        try:
            made = cls(**values)
        except ValidationError as error:
            # The input is left out: it may be a secret.
            raise SettingsError(
                [f"{given_as(environ, str(e['loc'][0]))}: {e['msg']}" for e in error.errors(include_input=False)]
            ) from None
        made._references.update(references)
        return made

    def reference_of(self, name: str) -> str | None:
        """Return where the value of the field `name` was read, if the environment only referred to it."""
        return self._references.get(name)

    @property
    def ways_in(self) -> WayRules:
        """Return what database URLs have to keep to."""
        return WayRules(self.database_auth, self.allow_unverified_database_tls)

    @property
    def key_schedule(self) -> KeySchedule:
        """Return when signing keys are replaced."""
        published = self.signing_key_published_seconds or published_seconds_for(self.jwks_max_age_seconds)
        return KeySchedule(self.signing_key_days, published)

    @property
    def throttle(self) -> ThrottleLimits:
        """Return the limits of sign-in throttling."""
        return ThrottleLimits(
            account_failures=self.throttle_account_failures,
            address_failures=self.throttle_address_failures,
            first_pause_seconds=self.throttle_first_pause_seconds,
            longest_pause_seconds=self.throttle_longest_pause_seconds,
            window_seconds=self.throttle_window_seconds,
        )


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting holds a secret, which may come from a file or be a reference."""
    return field.annotation == (SecretStr | None)


def _references_in(environ: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, str]:
    # What a file holds is the value itself, whatever it looks like.
    return {
        name: values[name]
        for name, field in Settings.model_fields.items()
        if is_secret(field)
        and isinstance(values.get(name), str)
        and f"{PREFIX}{name.upper()}_FILE" not in environ
        and is_reference(values[name])
    }


def _resolve(
    references: Mapping[str, str], environ: Mapping[str, str], values: dict[str, Any], problems: list[str]
) -> None:
    """Put what references lead to in their place. Raises `SettingsError` if there is anything wrong so far."""
    names = {given_as(environ, name): name for name in references}
    found, unresolved = resolve({variable: references[name] for variable, name in names.items()}, environ)
    passing = bool(unresolved) and not problems and all(problem.is_passing for problem in unresolved)
    problems.extend(problem.sentence for problem in unresolved)
    if problems:
        raise (SettingsUnavailable if passing else SettingsError)(problems)
    values.update({names[variable]: value for variable, value in found.items()})


def unknown_names(environ: Mapping[str, str]) -> list[str]:
    """Return variables that begin like a setting and are none: probably misspelt."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {f"{name}_FILE" for name in known}
    # References of documents and the tests' own switches are named freely below these.
    free = ("TEGATA_DEV_", "TEGATA_SECRET_", "TEGATA_TEST_", "TEGATA_ACCEPTANCE_")
    return sorted(n for n in environ if n.startswith(PREFIX) and n not in known and not n.startswith(free))
