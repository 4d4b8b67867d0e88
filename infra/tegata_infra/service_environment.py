"""What Tegata's processes are told: its settings (docs/reference/settings.md), and how many connections they may open.

Text alone, without CDK: values may be its tokens. Nothing here is a secret; those are named, and read by the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tegata_infra.addresses import build_cidr
from tegata_infra.config import Config, NetworkConfig

CERTIFICATES = "/etc/ssl/rds/global-bundle.pem"
"""Where the image has the certificates of RDS's own authority."""

APPLICATION, MAINTENANCE, MIGRATOR = "tegata_app", "tegata_maint", "tegata_migrator"
"""Tegata's logins at the database; their names are fixed."""

DRAIN_SECONDS = 5
SHUTDOWN_SECONDS = 20
"""A task is out of its target group before it gets SIGTERM, so little is left to drain. Both together, and five
seconds for the last audit events and traces, are less than what the container is given to stop."""

RESERVED_CONNECTIONS = 5
"""For superusers (3) and for RDS's own administrator (2), whatever `max_connections` says."""

OTHER_CONNECTIONS = 20
"""`tegata worker` (7), the one-off tasks (2), the rotation of the administrator (2), people and monitoring."""

MOST_CONNECTIONS_OF_A_WORKER = 10

TRACES: Mapping[str, str] = {
    "TEGATA_TRACES": "otlp",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "OTEL_PROPAGATORS": "tracecontext,xray",
    "OTEL_TRACES_SAMPLER": "traceidratio",
    "OTEL_TRACES_SAMPLER_ARG": "0.05",
}
"""One request in twenty; the load balancer's own trace is told, and never believed (docs/how-to/trace-requests.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a deployment has what its processes ask for.

    `master_key` is a reference; `logins` has the variables of those that come from secrets, and is empty with IAM.
    """

    domain_name: str
    database: str
    database_name: str
    master_key: str
    reader: str | None = None
    logins: Mapping[str, str] = field(default_factory=dict)

    def url_of(self, login: str, host: str | None = None) -> str:
        """Return the way into the database as one of Tegata's logins. It holds no password: IAM gives out tokens.

        Where a secret says the password it also says as whom, and the URL names neither.
        """
        who = "" if self.logins else f"{login}@"
        where = f"{host or self.database}:5432/{self.database_name}"
        return f"postgresql://{who}{where}?sslmode=verify-full&sslrootcert={CERTIFICATES}"

    def logging_in(self, url: str, login: str, secret: str) -> dict[str, str]:
        """Return the variables of one login: the URL under the name `url`, and how it proves who it is."""
        if not self.logins:
            return {"TEGATA_DATABASE_AUTH": "aws_iam", url: self.url_of(login)}
        return {"TEGATA_DATABASE_AUTH": "secret", url: self.url_of(login), secret: self.logins[secret]}


def count_workers(cpu: int) -> int:
    """Return how many processes serve in a task of that many units: one for each whole core.

    >>> [count_workers(cpu) for cpu in (256, 1024, 2048, 4096)]
    [1, 1, 2, 4]
    """
    return max(1, cpu // 1024)


def size_pool(config: Config, max_connections: int) -> int:
    """Return how many connections each process may open, so that a deployment of twice the tasks has enough.

    Each has one more, which hears of changes.

    Raises:
        ValueError: there are more processes than connections.
    """
    processes = 2 * config.service.most_tasks * count_workers(config.service.cpu)
    size = (max_connections - RESERVED_CONNECTIONS - OTHER_CONNECTIONS) // processes - 1
    if size < 1:
        raise ValueError(f"{processes} processes are too many for {max_connections} connections: fewer tasks")
    return min(size, MOST_CONNECTIONS_OF_A_WORKER)


def environment_of_server(config: Config, place: Place, max_connections: int) -> dict[str, str]:
    """Return the variables of `tegata serve`."""
    reader = {} if place.reader is None else {"TEGATA_DATABASE_READER_URL": place.url_of(APPLICATION, place.reader)}
    traces = {**TRACES, "OTEL_SERVICE_NAME": config.prefix, **_tags(config)} if config.service.tracing else {}
    return {
        **_everywhere(config),
        "TEGATA_BASE_URL": f"https://{place.domain_name}",
        "TEGATA_HOST": "0.0.0.0",  # noqa: S104 - the container's own interface; the security group says who reaches it
        "TEGATA_PORT": str(config.app_port),
        "TEGATA_WORKERS": str(count_workers(config.service.cpu)),
        **place.logging_in("TEGATA_DATABASE_URL", APPLICATION, "TEGATA_DATABASE_SECRET"),
        **reader,
        "TEGATA_DATABASE_POOL_SIZE": str(size_pool(config, max_connections)),
        "TEGATA_MASTER_KEY": place.master_key,
        "TEGATA_TRUSTED_PROXIES": ",".join(list_front_networks(config.network)),
        "TEGATA_EMBEDDED_METRICS": "true",
        "TEGATA_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "TEGATA_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
        **traces,
    }


def environment_of_worker(config: Config, place: Place) -> dict[str, str]:
    """Return the variables of `tegata worker`, which also replaces signing keys: so it has the master key."""
    return {
        **_everywhere(config),
        **place.logging_in("TEGATA_MAINTENANCE_DATABASE_URL", MAINTENANCE, "TEGATA_MAINTENANCE_DATABASE_SECRET"),
        "TEGATA_MASTER_KEY": place.master_key,
        "TEGATA_EMBEDDED_METRICS": "true",
        "TEGATA_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
    }


def environment_of_migration(config: Config, place: Place) -> dict[str, str]:
    """Return the variables of `tegata migrate`."""
    login = place.logging_in("TEGATA_MIGRATION_DATABASE_URL", MIGRATOR, "TEGATA_MIGRATION_DATABASE_SECRET")
    return {**_everywhere(config), **login}


def environment_of_bootstrap(config: Config, place: Place, administrator: str) -> dict[str, str]:
    """Return the variables of `tegata db bootstrap`; libpq takes the password from PGPASSWORD, which ECS sets."""
    administrators = replace(place, logins={})
    return {**_everywhere(config), "TEGATA_BOOTSTRAP_DATABASE_URL": administrators.url_of(administrator)}


def list_front_networks(network: NetworkConfig) -> list[str]:
    """Return the subnets of the load balancer, from where all connections to the containers come."""
    return [build_cidr(network.cidr, "public", zone) for zone in range(len(network.zones))]


def _everywhere(config: Config) -> dict[str, str]:
    return {"AWS_REGION": config.region, "TEGATA_ENVIRONMENT": "production", "TEGATA_LOG_FORMAT": "json"}


def _tags(config: Config) -> dict[str, str]:
    return {"OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={config.environment}"}
