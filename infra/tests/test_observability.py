"""Who is told what: each alarm with its metric and threshold, the topic, the dashboard."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .guards.rendering import render
from .templates import Assembly, Resource, walk

ALARMS: dict[str, tuple[str, str, float, int, str]] = {
    # Seed 001, "monitoring": CPU above 80 % twice in periods of 300 s; with dimensions (errata B34).
    "high-cpu": ("AWS/ECS CPUUtilization", ">", 80, 2, "notBreaching"),
    "high-memory": ("AWS/ECS MemoryUtilization", ">", 85, 2, "notBreaching"),
    "too-few-tasks": ("desired - running", ">=", 1, 10, "breaching"),
    "worker-high-cpu": ("AWS/ECS CPUUtilization", ">", 80, 2, "notBreaching"),
    "worker-high-memory": ("AWS/ECS MemoryUtilization", ">", 85, 2, "notBreaching"),
    "worker-too-few-tasks": ("desired - running", ">=", 1, 10, "breaching"),
    "deployment-failed": ("idp-server/Events DeploymentsFailed", ">=", 1, 1, "notBreaching"),
    "errors-in-log": ("idp-server/Events Errors", ">=", 5, 1, "notBreaching"),
    "alb-5xx": ("AWS/ApplicationELB HTTPCode_ELB_5XX_Count", ">=", 10, 1, "notBreaching"),
    "target-5xx": ("IF(errors > 10, 100 * errors / requests, 0)", ">=", 1, 1, "notBreaching"),
    "target-latency": ("AWS/ApplicationELB TargetResponseTime", ">", 2, 3, "notBreaching"),
    "unhealthy-hosts": ("AWS/ApplicationELB UnHealthyHostCount", ">=", 1, 5, "notBreaching"),
    "no-healthy-host": ("AWS/ApplicationELB HealthyHostCount", "<", 1, 2, "breaching"),
    "database-connections": ("AWS/RDS DatabaseConnections", ">=", 160, 3, "breaching"),
    "database-cpu": ("AWS/RDS CPUUtilization", ">", 80, 3, "breaching"),
    "database-storage": ("AWS/RDS FreeStorageSpace", "<", 10 * 2**30, 1, "breaching"),
    "database-memory": ("AWS/RDS FreeableMemory", "<", 256 * 2**20, 3, "breaching"),
    "database-transaction-ids": ("AWS/RDS MaximumUsedTransactionIDs", ">", 1_000_000_000, 1, "notBreaching"),
    "database-failover": ("idp-server/Events DatabaseFailovers", ">=", 1, 1, "notBreaching"),
    "replica-lag": ("AWS/RDS ReplicaLag", ">", 30, 5, "breaching"),
    "replica-cpu": ("AWS/RDS CPUUtilization", ">", 80, 3, "breaching"),
    "cache-1-memory": ("AWS/ElastiCache DatabaseMemoryUsagePercentage", ">", 80, 2, "breaching"),
    "cache-1-evictions": ("AWS/ElastiCache Evictions", ">=", 1, 1, "notBreaching"),
    "cache-1-cpu": ("AWS/ElastiCache EngineCPUUtilization", ">", 80, 3, "breaching"),
    "cache-2-memory": ("AWS/ElastiCache DatabaseMemoryUsagePercentage", ">", 80, 2, "breaching"),
    "cache-2-evictions": ("AWS/ElastiCache Evictions", ">=", 1, 1, "notBreaching"),
    "cache-2-cpu": ("AWS/ElastiCache EngineCPUUtilization", ">", 80, 3, "breaching"),
    "waf-blocked": ("AWS/WAFV2 BlockedRequests", ">=", 1000, 2, "notBreaching"),
    "certificate-ends": ("AWS/CertificateManager DaysToExpiry", "<", 30, 1, "ignore"),
    "nat-a-no-ports": ("AWS/NATGateway ErrorPortAllocation", ">=", 1, 1, "notBreaching"),
    "nat-b-no-ports": ("AWS/NATGateway ErrorPortAllocation", ">=", 1, 1, "notBreaching"),
    "backup-failed": ("idp-server/Events BackupsFailed", ">=", 1, 1, "notBreaching"),
    "backup-missing": ("idp-server/Events BackupsCompleted", "<", 1, 2, "breaching"),
    # Seed 004: rotations and reads of secrets.
    "secret-copies-failed": ("idp-server/Secrets SecretCopiesFailed", ">=", 1, 1, "notBreaching"),
    "secret-fetch-failed": ("idp-server/Secrets SecretFetchFailed", ">=", 1, 3, "notBreaching"),
    "rotation-failed": ("idp-server/Secrets RotationFailed", ">=", 1, 1, "notBreaching"),
    "rotation-errors": ("AWS/Lambda Errors", ">=", 1, 3, "notBreaching"),
    "rotation-throttles": ("AWS/Lambda Throttles", ">=", 1, 3, "notBreaching"),
    "rotation-given-up": ("idp-server/Secrets RotationGivenUp", ">=", 1, 1, "notBreaching"),
    "secret-access-denied": ("idp-server/Secrets SecretAccessDenied", ">=", 1, 1, "notBreaching"),
    "secret-reads-unusual": ("idp-server/Secrets SecretReads", ">=", 200, 1, "notBreaching"),
    "secret-reads-by-others": ("idp-server/Secrets SecretReadsByOthers", ">=", 1, 1, "notBreaching"),
    "secret-age-tegata-production-secret-jwt": ("idp-server/Secrets SecretAgeDays", ">=", 92, 2, "breaching"),
    "secret-age-idp-server-db-credentials": ("idp-server/Secrets SecretAgeDays", ">=", 32, 2, "breaching"),
}

DIMENSIONS = {
    "AWS/ApplicationELB": {"LoadBalancer"},
    "AWS/AutoScaling": {"AutoScalingGroupName"},
    "AWS/CertificateManager": {"CertificateArn"},
    "AWS/ECS": {"ClusterName", "ServiceName"},
    "AWS/ElastiCache": {"CacheClusterId"},
    "AWS/Lambda": {"FunctionName"},
    "AWS/NATGateway": {"NatGatewayId"},
    "AWS/RDS": {"DBInstanceIdentifier"},
    "AWS/WAFV2": {"Region", "Rule", "WebACL"},
    "ECS/ContainerInsights": {"ClusterName", "ServiceName"},
}
"""Without which dimensions AWS has no metric of that name (errata B34)."""

OPERATORS = {
    "GreaterThanThreshold": ">",
    "GreaterThanOrEqualToThreshold": ">=",
    "LessThanThreshold": "<",
}

PLAN_B = {
    "alb-5xx", "target-5xx", "target-latency", "unhealthy-hosts", "no-healthy-host",
    "back-alb-5xx", "back-target-5xx", "back-target-latency", "back-unhealthy-hosts", "back-no-healthy-host",
    "high-cpu", "high-memory", "too-few-tasks", "too-few-nginx", "deployment-failed",
    "waf-blocked", "certificate-ends", "back-certificate-ends", "nat-a-no-ports", "nat-b-no-ports",
}  # fmt: skip

PLAN_C = {word for word in PLAN_B if not word.startswith("back-")} - {"too-few-nginx"}


def find_alarm(assembly: Assembly, name: str, prefix: str = "idp-server") -> Resource:
    return assembly.one("AWS::CloudWatch::Alarm", AlarmName=f"{prefix}-{name}")


def describe(alarm: Resource) -> str:
    """Return the metric of an alarm, or the formula of several."""
    if "MetricName" in alarm.properties:
        return f"{alarm['Namespace']} {alarm['MetricName']}"
    return str(next(metric["Expression"] for metric in alarm["Metrics"] if "Expression" in metric))


def metrics_of(alarm: Resource) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the namespaces and the dimensions of all metrics that an alarm looks at."""
    if "MetricName" in alarm.properties:
        return [(alarm["Namespace"], alarm.get("Dimensions", []))]
    inner = [metric["MetricStat"]["Metric"] for metric in alarm["Metrics"] if "MetricStat" in metric]
    return [(metric["Namespace"], metric.get("Dimensions", [])) for metric in inner]


def names_of(assembly: Assembly, prefix: str) -> set[str]:
    return {alarm["AlarmName"].removeprefix(f"{prefix}-") for alarm in assembly.all("AWS::CloudWatch::Alarm")}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm(idp: Assembly, name: str) -> None:
    alarm = find_alarm(idp, name)
    found = (
        describe(alarm),
        OPERATORS[alarm["ComparisonOperator"]],
        alarm["Threshold"],
        alarm["EvaluationPeriods"],
        alarm["TreatMissingData"],
    )
    assert found == ALARMS[name]


def test_there_are_no_other_alarms(idp: Assembly) -> None:
    assert names_of(idp, "idp-server") == set(ALARMS)


def test_the_alarm_of_the_seed_is_there_with_the_dimensions_it_lacks(idp: Assembly) -> None:
    alarm = find_alarm(idp, "high-cpu")
    assert (alarm["MetricName"], alarm["Namespace"], alarm["Statistic"], alarm["Period"]) == (
        "CPUUtilization",
        "AWS/ECS",
        "Average",
        300,
    )
    found = {entry["Name"]: idp.find(alarm.stack, entry["Value"]) for entry in alarm["Dimensions"]}
    assert found["ClusterName"].type == "AWS::ECS::Cluster"
    assert found["ServiceName"]["ServiceName"] == "idp-server-service"


def test_every_alarm_tells_the_topic_when_it_begins_and_ends(each: Assembly) -> None:
    for alarm in each.all("AWS::CloudWatch::Alarm"):
        for key in ("AlarmActions", "OKActions"):
            targets = [each.find(alarm.stack, action) for action in alarm.get(key, [])]
            assert [target and target.type for target in targets] == ["AWS::SNS::Topic"], alarm["AlarmName"]


def test_every_alarm_says_what_it_means(each: Assembly) -> None:
    alarms = each.all("AWS::CloudWatch::Alarm")
    assert all(20 < len(alarm["AlarmDescription"]) <= 1024 for alarm in alarms)
    own = [alarm for alarm in alarms if alarm.id.startswith("Alarm")]
    assert all(" What to do: " in alarm["AlarmDescription"] for alarm in own)


def test_every_alarm_looks_at_a_metric_that_is_there(each: Assembly) -> None:
    """A metric is its name and all its dimensions: with one missing, nothing is ever measured."""
    filtered = {
        (one["MetricNamespace"], one["MetricName"])
        for lines in each.all("AWS::Logs::MetricFilter")
        for one in lines["MetricTransformations"]
    }
    for alarm in each.all("AWS::CloudWatch::Alarm"):
        for namespace, dimensions in metrics_of(alarm):
            if namespace in DIMENSIONS:
                assert {entry["Name"] for entry in dimensions} >= DIMENSIONS[namespace], alarm["AlarmName"]
            elif alarm.get("MetricName") not in ("SecretAgeDays", "SecretCopiesFailed"):
                assert (namespace, alarm["MetricName"]) in filtered, alarm["AlarmName"]


def test_every_alarm_decides_what_silence_means(each: Assembly) -> None:
    alarms = each.all("AWS::CloudWatch::Alarm")
    assert {alarm.get("TreatMissingData") for alarm in alarms} <= {"breaching", "notBreaching", "ignore"}


def test_a_node_of_the_cache_has_the_name_that_elasticache_gives_it(idp: Assembly) -> None:
    nodes = {
        entry["Value"]
        for alarm in idp.all("AWS::CloudWatch::Alarm", Namespace="AWS/ElastiCache")
        for entry in alarm["Dimensions"]
    }
    group = idp.one("AWS::ElastiCache::ReplicationGroup")["ReplicationGroupId"]
    assert nodes == {f"{group}-001", f"{group}-002"}


def test_plan_b_and_plan_c_have_their_share(plan_b: Assembly, plan_c: Assembly) -> None:
    assert names_of(plan_b, "plan-b") == PLAN_B
    assert names_of(plan_c, "plan-c") == PLAN_C


@pytest.mark.parametrize("deployment", ["idp", "plan-b", "plan-c"])
def test_development_wakes_nobody(read_assembly, deployment: str) -> None:
    dev = read_assembly(deployment, "dev")
    assert not [one for one in dev.resources if one.type.startswith(("AWS::CloudWatch", "AWS::SNS", "AWS::CloudTrail"))]


def test_staging_has_the_alarms_of_production(read_assembly) -> None:
    names = {name.replace("-production-", "-staging-") for name in ALARMS}
    renamed = {name.replace("idp-server-db", "idp-server-staging-db") for name in names}
    assert names_of(read_assembly("idp", "staging"), "idp-server-staging") == renamed


def test_the_topic_has_the_name_of_the_seed_and_takes_encrypted_messages_of_alarms_alone(idp: Assembly) -> None:
    topic = idp.one("AWS::SNS::Topic", TopicName="idp-server-alerts")
    key = idp.find(topic.stack, topic["KmsMasterKeyId"])
    policy = idp.one("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in policy if statement["Effect"] == "Allow"]
    denied = [statement for statement in policy if statement["Effect"] == "Deny"]
    assert [statement["Principal"] for statement in allowed] == [{"Service": "cloudwatch.amazonaws.com"}]
    assert allowed[0]["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    assert [statement["Condition"] for statement in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]
    users = [one["Principal"] for one in key["KeyPolicy"]["Statement"] if one["Principal"] == allowed[0]["Principal"]]
    assert users, "without the key an alarm cannot write its message"


def test_nobody_is_written_to_unless_an_address_is_named(idp: Assembly) -> None:
    template = idp.templates["Tegata-production-Observability"]
    subscription = idp.one("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", {"Ref": "AlertMail"})
    assert template["Parameters"]["AlertMail"]["Default"] == ""
    assert template["Conditions"][subscription.body["Condition"]] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "AlertMail"}, ""]}]
    }


@pytest.mark.parametrize("deployment", ["idp", "plan-b", "plan-c"])
def test_the_dashboard_draws_what_the_alarms_look_at(read_assembly, deployment: str) -> None:
    assembly = read_assembly(deployment, "production")
    board = assembly.one("AWS::CloudWatch::Dashboard")
    widgets = json.loads(render(board["DashboardBody"]))["widgets"]
    drawn = {widget["properties"]["title"] for widget in widgets if widget["type"] == "metric"}
    shown = next(widget["properties"]["alarms"] for widget in widgets if widget["type"] == "alarm")
    prefix = board["DashboardName"].removesuffix("-dashboard")
    alarms = {alarm["AlarmName"] for alarm in assembly.all("AWS::CloudWatch::Alarm")}
    own = {alarm["AlarmName"].removeprefix(f"{prefix}-") for alarm in _own(assembly)}
    assert drawn == own
    assert {arn.rpartition(":")[2] for arn in shown} == alarms


@pytest.mark.parametrize("deployment", ["idp", "plan-b", "plan-c"])
def test_the_metrics_of_the_dashboard_are_those_of_the_alarms(read_assembly, deployment: str) -> None:
    assembly = read_assembly(deployment, "production")
    body = json.loads(render(assembly.one("AWS::CloudWatch::Dashboard")["DashboardBody"]))
    drawn = {
        (entry[0], entry[1])
        for widget in body["widgets"]
        for entry in widget["properties"].get("metrics", [])
        if isinstance(entry[0], str)
    }
    watched = {
        (metric["Namespace"], metric["MetricName"])
        for alarm in _own(assembly)
        for _, metric in walk(alarm.properties)
        if isinstance(metric, dict) and {"Namespace", "MetricName"} <= metric.keys()
    }
    assert drawn == watched


def _own(assembly: Assembly) -> list[Resource]:
    """Return the alarms that have a graph: all but those of the rotation function's own metrics."""
    unseen = ("rotation-errors", "rotation-throttles")
    return [alarm for alarm in assembly.all("AWS::CloudWatch::Alarm") if not alarm["AlarmName"].endswith(unseen)]
