"""The data: PostgreSQL in two zones with a replica, and Valkey (seed 001, with its errata)."""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds
from constructs import Construct

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.config import Config
from tegata_infra.network import NetworkStack
from tegata_infra.stack import TegataStack

DATABASE_NAME = "idpserver"
ADMINISTRATOR = "idpserver"
"""The seed's master user. It is for the bootstrap task, and for its own rotation."""

POSTGRES_PARAMETERS = {
    "rds.force_ssl": "1",
    "shared_preload_libraries": "pg_stat_statements",
    "max_connections": "200",
    "password_encryption": "scram-sha-256",
    # What is slow, and who comes and goes; never statements with their values (errata E13).
    "log_min_duration_statement": "1000",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_connections": "1",
    "log_disconnections": "1",
    "log_lock_waits": "1",
}

BACKUP_WINDOW = "16:00-16:30"
MAINTENANCE_WINDOW = "sat:20:30-sat:21:00"
"""In UTC. RDS chooses them at random if nobody says them, and AWS Backup's jobs fail in the hour before maintenance and
during it: its copy is at 18:00 (`backup`)."""

PORT_REASON = "the seed's port; who may reach it is decided by security groups, not by its number"

VALKEY_PARAMETERS = {
    # A full cache says so instead of forgetting a session that somebody keeps there (errata B22).
    "maxmemory-policy": "noeviction",
    "timeout": "300",
    "tcp-keepalive": "60",
}


class DataStack(TegataStack):
    """PostgreSQL as `database`, its administrator's secret as `administrator`; `replica` and `cache` if configured."""

    def __init__(self, scope: Construct, config: Config, network: NetworkStack) -> None:
        super().__init__(scope, "Data", config, description=f"{config.prefix}: data")
        self._network = network
        self.database_key = self.add_key("rds", "PostgreSQL, its backups and its administrator")
        self._engine = rds.DatabaseInstanceEngine.postgres(
            version=rds.PostgresEngineVersion.of(
                config.database.engine_version, config.database.engine_version.partition(".")[0]
            )
        )
        self._monitoring = iam.Role(
            self,
            "MonitoringRole",
            assumed_by=iam.ServicePrincipal("monitoring.rds.amazonaws.com"),
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonRDSEnhancedMonitoringRole")
            ],
        )
        acknowledge(
            self._monitoring,
            "AWS's own policy for enhanced monitoring: the only statement of what it needs, and kept by AWS",
            "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]",
        )
        self.administrator = rds.DatabaseSecret(
            self,
            "Administrator",
            username=ADMINISTRATOR,
            dbname=DATABASE_NAME,
            secret_name=f"{config.prefix}/db-credentials",
            encryption_key=self.database_key,
        )
        self.administrator.apply_removal_policy(self.retention())
        acknowledge(self.administrator, "rotated by a schedule of the stack Secrets", "AwsSolutions-SMG4")
        self._subnets = self._add_subnet_group()
        self._parameters = self._add_parameters()
        self.database = self._add_database()
        self.replica = self._add_replica() if config.database.replica_class else None
        self.cache = self._add_cache()

    def _add_subnet_group(self) -> rds.SubnetGroup:
        name = self.name("db-subnet-group")
        group = rds.SubnetGroup(
            self,
            "DatabaseSubnets",
            subnet_group_name=name,
            description=f"{self.config.prefix}: PostgreSQL and its replica",
            vpc=self._network.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name="database"),
            removal_policy=self.retention(),
        )
        cdk.Tags.of(group).add("Name", name)
        return group

    def _add_parameters(self) -> rds.ParameterGroup:
        major = self.config.database.engine_version.partition(".")[0]
        name = self.name(f"pg{major}-params")
        group = rds.ParameterGroup(
            self,
            "DatabaseParameters",
            name=name,
            engine=self._engine,
            description=f"{self.config.prefix}: PostgreSQL {major}",
            parameters=POSTGRES_PARAMETERS,
        )
        cdk.Tags.of(group).add("Name", name)
        return group

    def _add_database(self) -> rds.DatabaseInstance:
        config, name = self.config.database, self.name("postgresql")
        # RDS makes this group itself otherwise, and never forgets what is in it.
        log = self.add_log_group("DatabaseLog", f"/aws/rds/instance/{name}/postgresql", self._network.logs_key)
        database = rds.DatabaseInstance(
            self,
            "Database",
            instance_identifier=name,
            engine=self._engine,
            instance_type=ec2.InstanceType(config.instance_class),
            vpc=self._network.vpc,
            subnet_group=self._subnets,
            security_groups=[self._network.firewall.database],
            port=5432,
            database_name=DATABASE_NAME,
            credentials=rds.Credentials.from_secret(self.administrator, ADMINISTRATOR),
            allocated_storage=config.storage_gib,
            max_allocated_storage=config.most_storage_gib,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            storage_encryption_key=self.database_key,
            multi_az=config.multi_az,
            parameter_group=self._parameters,
            iam_authentication=True,
            ca_certificate=rds.CaCertificate.RDS_CA_RSA2048_G1,
            backup_retention=cdk.Duration.days(config.backup_days),
            preferred_backup_window=BACKUP_WINDOW,
            preferred_maintenance_window=MAINTENANCE_WINDOW,
            copy_tags_to_snapshot=True,
            delete_automated_backups=not self.config.is_production,
            auto_minor_version_upgrade=True,
            # Another major is only ever that of `engine_version`; without this RDS refuses it.
            allow_major_version_upgrade=True,
            deletion_protection=config.deletion_protection,
            removal_policy=cdk.RemovalPolicy.DESTROY
            if self.config.environment == "dev"
            else cdk.RemovalPolicy.SNAPSHOT,
            cloudwatch_logs_exports=["postgresql"],
            publicly_accessible=False,
            **self._watched(),
        )
        database.node.add_dependency(log)
        cdk.Tags.of(database).add("Name", name)
        acknowledge(database, PORT_REASON, "AwsSolutions-RDS11")
        if not config.multi_az:
            acknowledge(
                database, "dev only: an outage of the zone stops development", "AwsSolutions-RDS3", "CKV_AWS_157"
            )
        if not config.deletion_protection:
            acknowledge(database, "dev only: made and torn down at will", "AwsSolutions-RDS10")
        return database

    def _watched(self) -> dict[str, object]:
        config = self.config.database
        return {
            "enable_performance_insights": True,
            "performance_insight_retention": rds.PerformanceInsightRetention.DEFAULT,
            "performance_insight_encryption_key": self.database_key,
            "monitoring_interval": cdk.Duration.seconds(config.monitoring_seconds),
            "monitoring_role": self._monitoring,
        }

    def _add_replica(self) -> rds.DatabaseInstanceReadReplica:
        config, name = self.config.database, self.name("postgresql-replica")
        assert config.replica_class is not None
        log = self.add_log_group("ReplicaLog", f"/aws/rds/instance/{name}/postgresql", self._network.logs_key)
        replica = rds.DatabaseInstanceReadReplica(
            self,
            "Replica",
            instance_identifier=name,
            source_database_instance=self.database,
            instance_type=ec2.InstanceType(config.replica_class),
            vpc=self._network.vpc,
            subnet_group=self._subnets,
            availability_zone=self.config.network.zones[1],
            security_groups=[self._network.firewall.database],
            port=5432,
            parameter_group=self._parameters,
            # Its storage grows by itself only if that is said of the replica, too; full, it would stop replicating.
            max_allocated_storage=config.most_storage_gib,
            preferred_maintenance_window=MAINTENANCE_WINDOW,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            storage_encryption_key=self.database_key,
            iam_authentication=True,
            ca_certificate=rds.CaCertificate.RDS_CA_RSA2048_G1,
            auto_minor_version_upgrade=True,
            deletion_protection=config.deletion_protection,
            removal_policy=cdk.RemovalPolicy.DESTROY,
            cloudwatch_logs_exports=["postgresql"],
            publicly_accessible=False,
            **self._watched(),
        )
        # A replica in the region of its source takes over that one's encryption, and RDS refuses to be told (E3020).
        instance = replica.node.default_child
        assert isinstance(instance, rds.CfnDBInstance)
        instance.add_property_deletion_override("StorageEncrypted")
        instance.add_property_deletion_override("KmsKeyId")
        replica.node.add_dependency(log)
        cdk.Tags.of(replica).add("Name", name)
        acknowledge(replica, PORT_REASON, "AwsSolutions-RDS11")
        acknowledge(
            replica,
            "the replica is the second zone's; a standby of it would be a third copy",
            "AwsSolutions-RDS3",
            "CKV_AWS_157",
        )
        acknowledge(replica, "a replica takes over the encryption of its source, and may not say so", "CKV_AWS_16")
        acknowledge(
            replica,
            "the zone is the seed's and the configuration's: the one that the primary does not start in",
            "CloudFormation-Validate::W3010",
            "W3010",
        )
        return replica

    def _add_cache(self) -> elasticache.CfnReplicationGroup | None:
        config = self.config.cache
        if config is None:
            return None
        from tegata_infra.cache import add_cache

        return add_cache(self, self._network, config, VALKEY_PARAMETERS)
