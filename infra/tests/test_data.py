"""PostgreSQL and Valkey: each row of seed 001's tables, where the errata do not say otherwise."""

from __future__ import annotations

from typing import Any

import pytest

from .templates import Assembly, Resource

DATABASE = {
    "DBInstanceIdentifier": "idp-server-postgresql",
    "DBInstanceClass": "db.r6g.xlarge",
    "Engine": "postgres",
    # Errata B23: the seed's 15.4 is no longer offered; a minor of a major that lives until 2029.
    "EngineVersion": "17.9",
    "MasterUsername": "idpserver",
    "DBName": "idpserver",
    "AllocatedStorage": "100",
    "StorageType": "gp3",
    "StorageEncrypted": True,
    "BackupRetentionPeriod": 7,
    "MultiAZ": True,
    "AutoMinorVersionUpgrade": True,
    "DeletionProtection": True,
    "EnablePerformanceInsights": True,
    "PerformanceInsightsRetentionPeriod": 7,
    "MonitoringInterval": 60,
    "PubliclyAccessible": False,
    # What the seed does not say.
    "EnableIAMDatabaseAuthentication": True,
    "CACertificateIdentifier": "rds-ca-rsa2048-g1",
    "EnableCloudwatchLogsExports": ["postgresql"],
    "CopyTagsToSnapshot": True,
    "DeleteAutomatedBackups": False,
    "MaxAllocatedStorage": 500,
    "AllowMajorVersionUpgrade": True,
    "PreferredBackupWindow": "16:00-16:30",
    "PreferredMaintenanceWindow": "sat:20:30-sat:21:00",
    "Port": "5432",
}

REPLICA = {
    "DBInstanceIdentifier": "idp-server-postgresql-replica",
    "DBInstanceClass": "db.r6g.large",
    "AvailabilityZone": "ap-northeast-1c",
    "PubliclyAccessible": False,
    "AutoMinorVersionUpgrade": True,
    "EnablePerformanceInsights": True,
    "PerformanceInsightsRetentionPeriod": 7,
    "MonitoringInterval": 60,
    "EnableIAMDatabaseAuthentication": True,
    "DeletionProtection": True,
    "StorageType": "gp3",
    "MaxAllocatedStorage": 500,
    "PreferredMaintenanceWindow": "sat:20:30-sat:21:00",
}

CACHE = {
    "ReplicationGroupId": "idp-server-redis",
    "NumCacheClusters": 2,
    "CacheNodeType": "cache.r7g.large",
    # Errata B21, B23: Valkey, whose users log in by IAM, in place of Redis 7.0 with a lasting token.
    "Engine": "valkey",
    "EngineVersion": "8.0",
    "AtRestEncryptionEnabled": True,
    "TransitEncryptionEnabled": True,
    "TransitEncryptionMode": "required",
    "AutomaticFailoverEnabled": True,
    "MultiAZEnabled": True,
    "SnapshotRetentionLimit": 5,
    "SnapshotWindow": "03:00-05:00",
    "PreferredMaintenanceWindow": "sun:05:00-sun:06:00",
}

DATABASE_SUBNETS = {"idp-server-private-db-1a", "idp-server-private-db-1c"}


@pytest.fixture(scope="session")
def database(idp: Assembly) -> Resource:
    return idp.one("AWS::RDS::DBInstance", DBInstanceIdentifier="idp-server-postgresql")


@pytest.fixture(scope="session")
def replica(idp: Assembly) -> Resource:
    return idp.one("AWS::RDS::DBInstance", DBInstanceIdentifier="idp-server-postgresql-replica")


@pytest.fixture(scope="session")
def cache(idp: Assembly) -> Resource:
    return idp.one("AWS::ElastiCache::ReplicationGroup")


def find_key(assembly: Assembly, resource: Resource, property_: str) -> str:
    """Return the alias of the key that a property names."""
    key = assembly.find(resource.stack, resource[property_])
    assert key is not None
    aliases = assembly.all("AWS::KMS::Alias", TargetKeyId={"Fn::GetAtt": [key.id, "Arn"]})
    assert key["EnableKeyRotation"] is True
    return str(next(alias["AliasName"] for alias in aliases if alias.stack == key.stack))


@pytest.mark.parametrize("row", DATABASE)
def test_the_database_is_the_one_of_the_seed(database: Resource, row: str) -> None:
    assert database.get(row) == DATABASE[row]


@pytest.mark.parametrize("row", REPLICA)
def test_the_replica_is_the_one_of_the_seed(replica: Resource, row: str) -> None:
    assert replica.get(row) == REPLICA[row]


@pytest.mark.parametrize("row", CACHE)
def test_the_cache_is_the_one_of_the_seed(cache: Resource, row: str) -> None:
    assert cache.get(row) == CACHE[row]


def test_there_are_no_other_databases(idp: Assembly) -> None:
    assert len(idp.all("AWS::RDS::DBInstance")) == 2
    assert not idp.all("AWS::RDS::DBCluster")
    assert not idp.all("AWS::ElastiCache::CacheCluster")


def test_the_replica_follows_the_database(idp: Assembly, database: Resource, replica: Resource) -> None:
    source = replica["SourceDBInstanceIdentifier"]
    assert source["Fn::Join"][1][-1] == {"Ref": database.id}
    assert not {"StorageEncrypted", "KmsKeyId"} & replica.properties.keys(), "taken over from the source (E3020)"
    assert replica["AvailabilityZone"] != "ap-northeast-1a"


def test_what_is_kept_is_encrypted_with_a_key_of_its_own(idp: Assembly, database: Resource, cache: Resource) -> None:
    """Errata B25: the seed names `alias/idp-server-rds-key` and makes another."""
    assert find_key(idp, database, "KmsKeyId") == "alias/idp-server-rds-key"
    assert find_key(idp, database, "PerformanceInsightsKMSKeyId") == "alias/idp-server-rds-key"
    assert find_key(idp, cache, "KmsKeyId") == "alias/idp-server-redis-key"


def test_the_database_has_the_name_tags_of_the_seed(database: Resource, replica: Resource, cache: Resource) -> None:
    tags = [(one.tags["Name"], one.tags["Environment"]) for one in (database, replica, cache)]
    assert tags == [
        ("idp-server-postgresql", "production"),
        ("idp-server-postgresql-replica", "production"),
        ("idp-server-redis", "production"),
    ]


def test_both_instances_are_in_the_subnet_group_of_the_seed(
    idp: Assembly, database: Resource, replica: Resource
) -> None:
    group = idp.one("AWS::RDS::DBSubnetGroup")
    names = {idp.find(group.stack, subnet).tags["Name"] for subnet in group["SubnetIds"]}
    assert (group["DBSubnetGroupName"], group.tags["Name"]) == ("idp-server-db-subnet-group",) * 2
    assert names == DATABASE_SUBNETS
    assert database["DBSubnetGroupName"] == replica["DBSubnetGroupName"] == {"Ref": group.id}


def test_the_cache_is_in_the_subnet_group_of_the_seed(idp: Assembly, cache: Resource) -> None:
    group = idp.one("AWS::ElastiCache::SubnetGroup", CacheSubnetGroupName="idp-server-redis-subnet-group")
    assert {idp.find(group.stack, subnet).tags["Name"] for subnet in group["SubnetIds"]} == DATABASE_SUBNETS
    assert cache["CacheSubnetGroupName"] == {"Ref": group.id}


def test_who_may_reach_the_data_is_said_by_the_seeds_groups(
    idp: Assembly, database: Resource, replica: Resource, cache: Resource
) -> None:
    for resource, listed, name in (
        (database, "VPCSecurityGroups", "idp-server-rds-sg"),
        (replica, "VPCSecurityGroups", "idp-server-rds-sg"),
        (cache, "SecurityGroupIds", "idp-server-redis-sg"),
    ):
        assert [idp.find(resource.stack, group)["GroupName"] for group in resource[listed]] == [name]


def test_parameters_of_postgresql_are_the_seeds_without_its_guesses_about_memory(
    idp: Assembly, database: Resource, replica: Resource
) -> None:
    """Errata B17: the formulas of shared_buffers and effective_cache_size look wrong, RDS's own stay."""
    group = idp.one("AWS::RDS::DBParameterGroup")
    parameters: dict[str, Any] = group["Parameters"]
    assert (group["DBParameterGroupName"], group["Family"]) == ("idp-server-pg17-params", "postgres17")
    assert group.tags["Name"] == "idp-server-pg17-params"
    assert parameters["shared_preload_libraries"] == "pg_stat_statements"
    assert parameters["max_connections"] == "200"
    assert not {"shared_buffers", "effective_cache_size"} & parameters.keys()
    assert database["DBParameterGroupName"] == replica["DBParameterGroupName"] == {"Ref": group.id}


def test_connections_without_tls_are_refused_and_passwords_kept_as_scram(idp: Assembly) -> None:
    parameters = idp.one("AWS::RDS::DBParameterGroup")["Parameters"]
    assert (parameters["rds.force_ssl"], parameters["password_encryption"]) == ("1", "scram-sha-256")


def test_the_log_names_slow_statements_and_never_their_values(idp: Assembly) -> None:
    """Errata E13: `log_statement = ddl` writes passwords down."""
    parameters = idp.one("AWS::RDS::DBParameterGroup")["Parameters"]
    assert "log_statement" not in parameters
    assert parameters["log_parameter_max_length"] == parameters["log_parameter_max_length_on_error"] == "0"
    assert parameters["log_min_duration_statement"] == "1000"


def test_parameters_of_the_cache_are_the_seeds_but_for_eviction(idp: Assembly, cache: Resource) -> None:
    """Errata B22: `allkeys-lru` forgets sessions in silence."""
    group = idp.one("AWS::ElastiCache::ParameterGroup")
    assert group["CacheParameterGroupFamily"] == "valkey8"
    assert group["Properties"] == {"maxmemory-policy": "noeviction", "timeout": "300", "tcp-keepalive": "60"}
    assert cache["CacheParameterGroupName"] == {"Ref": group.id}


def test_the_cache_is_entered_by_iam_alone(idp: Assembly, cache: Resource) -> None:
    """Errata B21, B24: the seed writes a token on the command line."""
    users, group = idp.one("AWS::ElastiCache::User"), idp.one("AWS::ElastiCache::UserGroup")
    assert "AuthToken" not in cache.properties
    assert cache["UserGroupIds"] == [{"Ref": group.id}]
    assert group["UserIds"] == [{"Ref": users.id}]
    assert users["AuthenticationMode"] == {"Type": "iam"}
    assert not {"Passwords", "NoPasswordRequired"} & users.properties.keys()
    assert users["UserId"] == users["UserName"], "IAM logins need the same name twice"
    assert "-@dangerous" in users["AccessString"]


def test_the_administrators_password_is_generated_and_in_no_template(idp: Assembly, database: Resource) -> None:
    secret = idp.one("AWS::SecretsManager::Secret", Name="idp-server/db-credentials")
    assert database["MasterUserPassword"] == {
        "Fn::Join": ["", ["{{resolve:secretsmanager:", {"Ref": secret.id}, ":SecretString:password::}}"]]
    }
    generated = secret["GenerateSecretString"]
    assert (generated["GenerateStringKey"], generated["PasswordLength"]) == ("password", 30)
    assert "SecretString" not in secret.properties
    assert find_key(idp, secret, "KmsKeyId") == "alias/idp-server-rds-key"
    attached = idp.one("AWS::SecretsManager::SecretTargetAttachment", SecretId={"Ref": secret.id})
    assert attached["TargetId"] == {"Ref": database.id}, "host and engine are added to the secret (aws-cdk#6358)"


def test_enhanced_monitoring_has_a_role_for_rds_alone(idp: Assembly, database: Resource, replica: Resource) -> None:
    role = idp.find(database.stack, database["MonitoringRoleArn"])
    statement = role["AssumeRolePolicyDocument"]["Statement"]
    assert [one["Principal"] for one in statement] == [{"Service": "monitoring.rds.amazonaws.com"}]
    assert replica["MonitoringRoleArn"] == database["MonitoringRoleArn"]


def test_logs_of_postgresql_are_kept_as_long_as_the_others(idp: Assembly) -> None:
    """RDS makes these groups itself if they are not there, and keeps them for ever."""
    for name in ("idp-server-postgresql", "idp-server-postgresql-replica"):
        group = idp.one("AWS::Logs::LogGroup", LogGroupName=f"/aws/rds/instance/{name}/postgresql")
        assert group["RetentionInDays"] == 30
        assert find_key(idp, group, "KmsKeyId") == "alias/idp-server-logs-key"


def test_what_is_deleted_leaves_a_last_copy(idp: Assembly, database: Resource, cache: Resource) -> None:
    secret = idp.one("AWS::SecretsManager::Secret", Name="idp-server/db-credentials")
    for resource in (database, cache):
        assert (resource.body["DeletionPolicy"], resource.body["UpdateReplacePolicy"]) == ("Snapshot", "Snapshot")
    for resource in (secret, *idp.all("AWS::KMS::Key")):
        # Without its key a copy cannot be read. What a failed first deployment made goes, or its names stay taken.
        assert resource.body["DeletionPolicy"] == "RetainExceptOnCreate"
        assert resource.body["UpdateReplacePolicy"] == "Retain"


def test_staging_is_smaller_but_of_the_same_shape(read_assembly) -> None:
    staging = read_assembly("idp", "staging")
    instances = {one["DBInstanceIdentifier"]: one["DBInstanceClass"] for one in staging.all("AWS::RDS::DBInstance")}
    database = staging.one("AWS::RDS::DBInstance", DBInstanceIdentifier="idp-server-staging-postgresql")
    cache = staging.one("AWS::ElastiCache::ReplicationGroup")
    assert instances == {
        "idp-server-staging-postgresql": "db.t4g.large",
        "idp-server-staging-postgresql-replica": "db.t4g.medium",
    }
    assert (database["MultiAZ"], database["DeletionProtection"], database["BackupRetentionPeriod"]) == (True, True, 7)
    assert (cache["CacheNodeType"], cache["NumCacheClusters"], cache["MultiAZEnabled"]) == ("cache.t4g.small", 2, True)


def test_development_has_one_small_instance_and_no_cache(read_assembly) -> None:
    dev = read_assembly("idp", "dev")
    database = dev.one("AWS::RDS::DBInstance")
    assert (database["DBInstanceClass"], database["AllocatedStorage"], database["MultiAZ"]) == (
        "db.t4g.micro",
        "20",
        False,
    )
    assert (database["DeletionProtection"], database.body["DeletionPolicy"]) == (False, "Delete")
    assert not [one for one in dev.resources if one.type.startswith("AWS::ElastiCache")]


@pytest.mark.parametrize("environment", ["dev", "staging"])
def test_what_protects_data_is_the_same_in_every_environment(read_assembly, environment: str) -> None:
    assembly = read_assembly("idp", environment)
    database = next(
        one for one in assembly.all("AWS::RDS::DBInstance") if "SourceDBInstanceIdentifier" not in one.properties
    )
    for row in ("StorageEncrypted", "EnableIAMDatabaseAuthentication", "PubliclyAccessible", "EngineVersion"):
        assert database.get(row) == DATABASE[row]
    assert assembly.one("AWS::RDS::DBParameterGroup")["Parameters"]["rds.force_ssl"] == "1"


@pytest.mark.parametrize("deployment", ["plan-b", "plan-c"])
def test_plans_b_and_c_keep_no_data(read_assembly, deployment: str) -> None:
    assembly = read_assembly(deployment, "production")
    assert not [one for one in assembly.resources if one.type.startswith(("AWS::RDS", "AWS::ElastiCache"))]
