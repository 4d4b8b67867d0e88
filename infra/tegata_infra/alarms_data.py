"""The alarms of what is kept: PostgreSQL, its replica, Valkey, backups; and of deployments that were taken back."""

from __future__ import annotations

from collections.abc import Iterator

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_rds as rds

from tegata_infra.alarms import (
    ABOVE,
    AT_LEAST,
    BELOW,
    FIVE_MINUTES,
    MINUTE,
    SILENCE_IS_BAD,
    SILENCE_IS_GOOD,
    Page,
)
from tegata_infra.config import CacheConfig, DatabaseConfig
from tegata_infra.data import POSTGRES_PARAMETERS

GIB = 1024**3
MIB = 1024**2
WRAPAROUND_WARNING = 1_000_000_000
"""Half of what PostgreSQL allows before it takes no more writes ("Preventing Transaction ID Wraparound Failures")."""


def pages_of_database(database: rds.DatabaseInstance, config: DatabaseConfig) -> Iterator[Page]:
    """Yield what is wrong with the primary."""
    most = int(POSTGRES_PARAMETERS["max_connections"])
    yield Page(
        name="database-connections",
        metric=_metric(database, "DatabaseConnections", "Maximum"),
        threshold=most * 0.8,
        periods=3,
        silence=SILENCE_IS_BAD,
        means=f"More than 80 % of the {most} connections are open, or the database does not answer.",
        do="Tasks times their pools must stay below it: see docs for the sizes; who else is connected?",
    )
    yield Page(
        name="database-cpu",
        metric=_metric(database, "CPUUtilization"),
        compare=ABOVE,
        threshold=80,
        periods=3,
        silence=SILENCE_IS_BAD,
        means="The database's CPU is above 80 % for a quarter of an hour.",
        do="Performance Insights names the statements; a flood shows in the load balancer's requests.",
    )
    yield Page(
        name="database-storage",
        metric=_metric(database, "FreeStorageSpace", "Minimum"),
        compare=BELOW,
        threshold=config.storage_gib * GIB // 10,
        silence=SILENCE_IS_BAD,
        means=f"Less than a tenth of the disk is free, and RDS has added none (limit: {config.most_storage_gib} GiB).",
        do="Raise most_storage_gib; then look for what grew: tables of audit events, or the log of a stuck replica.",
    )
    yield Page(
        name="database-memory",
        metric=_metric(database, "FreeableMemory", "Minimum"),
        compare=BELOW,
        threshold=256 * MIB,
        periods=3,
        silence=SILENCE_IS_BAD,
        means="The database has less than 256 MiB of memory left: soon it swaps, then it is restarted.",
        do="Connections cost memory: see database-connections; else take a larger class.",
    )
    yield Page(
        name="database-transaction-ids",
        metric=_metric(database, "MaximumUsedTransactionIDs", "Maximum"),
        compare=ABOVE,
        threshold=WRAPAROUND_WARNING,
        silence=SILENCE_IS_GOOD,
        means="Half of the transaction numbers are used up: vacuum does not get on, and writes will stop at the end.",
        do="End long transactions and forgotten replication slots; vacuum the oldest tables by hand.",
    )


def pages_of_replica(replica: rds.DatabaseInstanceReadReplica) -> Iterator[Page]:
    """Yield what is wrong with the replica."""
    yield Page(
        name="replica-lag",
        metric=_metric(replica, "ReplicaLag", "Maximum", MINUTE),
        compare=ABOVE,
        threshold=30,
        periods=5,
        silence=SILENCE_IS_BAD,
        means="The replica is more than 30 seconds behind, or does not replicate: marked reads go to the primary.",
        do="A long query on the replica, or a flood of writes; if it stands still, make it anew.",
    )
    yield Page(
        name="replica-cpu",
        metric=_metric(replica, "CPUUtilization"),
        compare=ABOVE,
        threshold=80,
        periods=3,
        silence=SILENCE_IS_BAD,
        means="The replica's CPU is above 80 % for a quarter of an hour.",
        do="Performance Insights names the statements; a larger class, or TEGATA_DATABASE_READER_URL without it.",
    )


def pages_of_cache(name: str, config: CacheConfig) -> Iterator[Page]:
    """Yield what is wrong with the cache, node by node: ElastiCache has no figures of the group."""
    for number in range(1, config.nodes + 1):
        node = f"{name}-{number:03}"
        yield Page(
            name=f"cache-{number}-memory",
            metric=_node(node, "DatabaseMemoryUsagePercentage"),
            compare=ABOVE,
            threshold=80,
            periods=2,
            silence=SILENCE_IS_BAD,
            means="The cache is more than 80 % full. It forgets nothing by itself: full, it refuses writes.",
            do="Keys without an end? Else a larger node.",
        )
        yield Page(
            name=f"cache-{number}-evictions",
            metric=_node(node, "Evictions", "Sum"),
            compare=AT_LEAST,
            threshold=1,
            silence=SILENCE_IS_GOOD,
            means="The cache forgets what it was told to keep: its parameter maxmemory-policy is not noeviction.",
            do="Compare the parameter group with the template, and apply it.",
        )
        yield Page(
            name=f"cache-{number}-cpu",
            metric=_node(node, "EngineCPUUtilization"),
            compare=ABOVE,
            threshold=80,
            periods=3,
            silence=SILENCE_IS_BAD,
            means="The cache's one thread is busy for more than 80 % of the time.",
            do="SLOWLOG names commands that look at everything; else a larger node.",
        )


def pages_of_backups(failed: cloudwatch.IMetric, completed: cloudwatch.IMetric) -> Iterator[Page]:
    """Yield what is wrong with the daily copies."""
    yield Page(
        name="backup-failed",
        metric=failed,
        threshold=1,
        silence=SILENCE_IS_GOOD,
        means="A backup or the copy of one has failed, was ended, or did not begin in time.",
        do="The job's message is in AWS Backup; start it again by hand, and see that tonight's succeeds.",
    )
    yield Page(
        name="backup-missing",
        metric=completed,
        compare=BELOW,
        threshold=1,
        periods=2,
        silence=SILENCE_IS_BAD,
        means="No backup has been completed for two days (or since the plan was made).",
        do="Does the plan still select the database? RDS's own backups of seven days are there meanwhile.",
    )


def pages_of_deployments(taken_back: cloudwatch.IMetric) -> Iterator[Page]:
    """Yield that a deployment failed, which ECS tells by an event."""
    yield Page(
        name="deployment-failed",
        metric=taken_back,
        threshold=1,
        silence=SILENCE_IS_GOOD,
        means="A deployment did not become healthy; the circuit breaker has put the version before it back.",
        do="The stopped tasks' reasons and the log say why. Users had the old version all the time.",
    )


def pages_of_failover(failed_over: cloudwatch.IMetric) -> Iterator[Page]:
    """Yield that the database moved, which RDS tells by an event."""
    yield Page(
        name="database-failover",
        metric=failed_over,
        threshold=1,
        silence=SILENCE_IS_GOOD,
        means="The database has changed to its standby in another zone, or has failed.",
        do="Requests of that minute failed and were repeated. Was it maintenance? Else ask AWS for the reason.",
    )


def _metric(
    instance: rds.IDatabaseInstance, name: str, statistic: str = "Average", period: object = FIVE_MINUTES
) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/RDS",
        metric_name=name,
        dimensions_map={"DBInstanceIdentifier": instance.instance_identifier},
        statistic=statistic,
        period=period,
    )


def _node(node: str, name: str, statistic: str = "Average") -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/ElastiCache",
        metric_name=name,
        dimensions_map={"CacheClusterId": node},
        statistic=statistic,
        period=FIVE_MINUTES,
    )
