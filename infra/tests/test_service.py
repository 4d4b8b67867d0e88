"""The service: rows of seed 001's cluster, task definition and service, where the errata do not say otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tegata_infra.service_tracing import CONFIGURATION

from .templates import Assembly, Resource

TASK = {
    "Family": "idp-server-task",
    "NetworkMode": "awsvpc",
    "RequiresCompatibilities": ["FARGATE"],
    "Cpu": "2048",
    "Memory": "4096",
    "RuntimePlatform": {"CpuArchitecture": "X86_64", "OperatingSystemFamily": "LINUX"},
}

CONTAINER = {
    "Name": "idp-server",
    "PortMappings": [{"ContainerPort": 8080, "Name": "http", "Protocol": "tcp"}],
    # Errata B30: a slim image has no curl; the command asks the same path, on loopback.
    "HealthCheck": {
        "Command": ["CMD", "tegata", "health"],
        "Interval": 30,
        "Timeout": 5,
        "Retries": 3,
        "StartPeriod": 60,
    },
    # What the seed does not say.
    "EntryPoint": ["tegata"],
    "Command": ["serve"],
    "Essential": True,
    "User": "10001:10001",
    "Privileged": False,
    "ReadonlyRootFilesystem": True,
    "LinuxParameters": {"Capabilities": {"Drop": ["ALL"]}, "InitProcessEnabled": True},
    "StopTimeout": 60,
    "Ulimits": [{"Name": "nofile", "SoftLimit": 65536, "HardLimit": 65536}],
}

LOG = {
    "awslogs-region": "ap-northeast-1",
    "awslogs-stream-prefix": "ecs",
    "mode": "non-blocking",
    "max-buffer-size": "26214400b",
}

SERVICE = {
    "ServiceName": "idp-server-service",
    "LaunchType": "FARGATE",
    "PlatformVersion": "LATEST",
    "HealthCheckGracePeriodSeconds": 60,
    # Errata B31: a shell into the identity server is for an incident.
    "EnableExecuteCommand": False,
    # What the seed does not say.
    "AvailabilityZoneRebalancing": "ENABLED",
    "DeploymentConfiguration": {
        "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
        "MaximumPercent": 200,
        "MinimumHealthyPercent": 100,
    },
}

FAMILIES = {
    "idp-server-task": ["serve"],
    "idp-server-worker": ["worker"],
    "idp-server-migrate": ["migrate"],
    "idp-server-bootstrap": ["db", "bootstrap", "--for", "rds"],
}


def find_task(assembly: Assembly, family: str) -> Resource:
    return assembly.one("AWS::ECS::TaskDefinition", Family=family)


def find_container(assembly: Assembly, family: str, name: str = "idp-server") -> dict[str, Any]:
    return next(each for each in find_task(assembly, family)["ContainerDefinitions"] if each["Name"] == name)


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in container.get("Environment", [])}


def text(value: Any) -> str:
    """Return a joined value with its references as {...}."""
    if isinstance(value, dict) and "Fn::Join" in value:
        return "".join(part if isinstance(part, str) else "{...}" for part in value["Fn::Join"][1])
    return value if isinstance(value, str) else "{...}"


@pytest.fixture(scope="session")
def service(idp: Assembly) -> Resource:
    return idp.one("AWS::ECS::Service", ServiceName="idp-server-service")


def test_the_cluster_has_the_name_of_the_seed_and_runs_fargate(idp: Assembly) -> None:
    cluster = idp.one("AWS::ECS::Cluster")
    assert (cluster["ClusterName"], cluster.tags["Name"]) == ("idp-server-cluster", "idp-server-cluster")
    assert cluster["ClusterSettings"] == [{"Name": "containerInsights", "Value": "enhanced"}]
    providers = idp.one("AWS::ECS::ClusterCapacityProviderAssociations")
    assert providers["CapacityProviders"] == ["FARGATE"]
    assert providers["DefaultCapacityProviderStrategy"] == [{"CapacityProvider": "FARGATE", "Weight": 1}]


@pytest.mark.parametrize("row", TASK)
def test_a_row_of_the_task_definition(idp: Assembly, row: str) -> None:
    assert find_task(idp, "idp-server-task")[row] == TASK[row]


@pytest.mark.parametrize("row", CONTAINER)
def test_a_row_of_the_container(idp: Assembly, row: str) -> None:
    assert find_container(idp, "idp-server-task")[row] == CONTAINER[row]


def test_the_image_is_named_by_its_digest(idp: Assembly) -> None:
    """Errata B29: the seed's `latest` may be another image tomorrow."""
    for family in FAMILIES:
        assert find_container(idp, family)["Image"] == {"Ref": "Image"}
    stack = find_task(idp, "idp-server-task").stack
    assert "@sha256:" in idp.templates[stack]["Parameters"]["Image"]["AllowedPattern"]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_container_writes_to_the_log_group_of_the_seed(idp: Assembly, family: str) -> None:
    task = find_task(idp, family)
    for container in task["ContainerDefinitions"]:
        options = dict(container["LogConfiguration"]["Options"])
        group = idp.find(task.stack, options.pop("awslogs-group"))
        assert container["LogConfiguration"]["LogDriver"] == "awslogs"
        assert options == LOG
        assert group is not None
        assert (group["LogGroupName"], group["RetentionInDays"]) == ("/ecs/idp-server", 30)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_runs_its_command_as_nobody_on_what_it_cannot_write(idp: Assembly, family: str) -> None:
    container = find_container(idp, family)
    assert (container["EntryPoint"], container["Command"]) == (["tegata"], FAMILIES[family])
    for each in find_task(idp, family)["ContainerDefinitions"]:
        assert (each["ReadonlyRootFilesystem"], each["Privileged"]) == (True, False)
        assert each["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}
        assert each.get("User", "the image's") in {"10001:10001", "the image's"}


@pytest.mark.parametrize("row", SERVICE)
def test_a_row_of_the_service(service: Resource, row: str) -> None:
    assert service[row] == SERVICE[row]


def test_the_service_is_in_the_app_subnets_of_both_zones_behind_the_load_balancer(
    idp: Assembly, service: Resource
) -> None:
    network = service["NetworkConfiguration"]["AwsvpcConfiguration"]
    subnets = [idp.find(service.stack, subnet) for subnet in network["Subnets"]]
    names = {subnet.tags["Name"] for subnet in subnets if subnet}
    assert names == {"idp-server-private-app-1a", "idp-server-private-app-1c"}
    assert {subnet["AvailabilityZone"] for subnet in subnets if subnet} == {"ap-northeast-1a", "ap-northeast-1c"}
    (group,) = [idp.find(service.stack, each) for each in network["SecurityGroups"]]
    assert group is not None
    assert (group.tags["Name"], network["AssignPublicIp"]) == ("idp-server-ecs-sg", "DISABLED")
    (target,) = service["LoadBalancers"]
    assert (target["ContainerName"], target["ContainerPort"]) == ("idp-server", 8080)
    assert idp.find(service.stack, target["TargetGroupArn"]) == idp.one("AWS::ElasticLoadBalancingV2::TargetGroup")


def test_there_are_two_tasks_at_least_and_no_update_takes_away_what_scaling_has_added(
    idp: Assembly, service: Resource
) -> None:
    """The seed's `--desired-count 2`; as a number of the service it would be set anew with each new version."""
    target = idp.one("AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 10)
    assert target["ScalableDimension"] == "ecs:service:DesiredCount"
    assert "DesiredCount" not in service.properties


def test_the_service_grows_by_cpu_and_by_requests(idp: Assembly) -> None:
    policies = {
        policy["TargetTrackingScalingPolicyConfiguration"]["PredefinedMetricSpecification"][
            "PredefinedMetricType"
        ]: policy["TargetTrackingScalingPolicyConfiguration"]
        for policy in idp.all("AWS::ApplicationAutoScaling::ScalingPolicy")
    }
    assert {kind: policy["TargetValue"] for kind, policy in policies.items()} == {
        "ECSServiceAverageCPUUtilization": 60,
        "ALBRequestCountPerTarget": 1000,
    }
    assert {(each["ScaleOutCooldown"], each["ScaleInCooldown"]) for each in policies.values()} == {(60, 300)}


def test_the_worker_is_one_task_that_nobody_reaches(idp: Assembly) -> None:
    worker = idp.one("AWS::ECS::Service", ServiceName="idp-server-worker")
    assert worker["DesiredCount"] == 1
    assert not worker.get("LoadBalancers")
    assert "PortMappings" not in find_container(idp, "idp-server-worker")
    # The next one starts when the last one has ended: two would only wait for each other.
    assert (
        worker["DeploymentConfiguration"]["MinimumHealthyPercent"],
        worker["DeploymentConfiguration"]["MaximumPercent"],
    ) == (0, 100)


def test_a_container_has_longer_to_stop_than_it_takes(idp: Assembly) -> None:
    container = find_container(idp, "idp-server-task")
    told = environment(container)
    last_words = 5
    takes = int(told["TEGATA_DRAIN_SECONDS"]) + int(told["TEGATA_SHUTDOWN_SECONDS"]) + last_words
    assert takes < container["StopTimeout"] <= 120
    group = idp.one("AWS::ElasticLoadBalancingV2::TargetGroup")
    attributes = {each["Key"]: each["Value"] for each in group["TargetGroupAttributes"]}
    # Requests may finish while the task is taken out, and as long as the server itself would let them.
    assert int(attributes["deregistration_delay.timeout_seconds"]) >= int(told["TEGATA_SHUTDOWN_SECONDS"])


@pytest.mark.parametrize("environment_name", ["production", "staging", "dev"])
def test_a_deployment_of_twice_the_tasks_has_connections_enough(read_assembly, environment_name: str) -> None:
    """docs/how-to/size-the-connection-pool.md: each process its pool and one more; and what else is connected."""
    idp = read_assembly("idp", environment_name)
    target = idp.one("AWS::ApplicationAutoScaling::ScalableTarget")
    service = next(each for each in idp.all("AWS::ECS::Service") if each.get("LoadBalancers"))
    container = idp.find(service.stack, service["TaskDefinition"])["ContainerDefinitions"][0]  # type: ignore[index]
    told = environment(container)
    at_once = target["MaxCapacity"] * service["DeploymentConfiguration"]["MaximumPercent"] // 100
    servers = at_once * int(told["TEGATA_WORKERS"]) * (int(told["TEGATA_DATABASE_POOL_SIZE"]) + 1)
    worker, tasks, rotation, people = 7, 2, 2, 5
    reserved = 3 + 2
    parameters = [group["Parameters"] for group in idp.all("AWS::RDS::DBParameterGroup")]
    connections = {int(each["max_connections"]) for each in parameters if "max_connections" in each}
    assert connections == {200}
    assert servers + worker + tasks + rotation + people < 200 - reserved
    assert int(told["TEGATA_DATABASE_POOL_SIZE"]) >= 3


def test_no_login_is_a_secret_of_a_container_but_the_administrators(idp: Assembly) -> None:
    """Errata B28: what ECS puts into a container is stale after a rotation; the bootstrap has ended by then."""
    given = {
        family: [(each["Name"], text(each["ValueFrom"])) for each in find_container(idp, family).get("Secrets", [])]
        for family in FAMILIES
    }
    assert given == {
        "idp-server-task": [],
        "idp-server-worker": [],
        "idp-server-migrate": [],
        "idp-server-bootstrap": [("PGPASSWORD", "{...}:password::")],
    }


def test_the_servers_are_told_where_everything_is(idp: Assembly) -> None:
    told = environment(find_container(idp, "idp-server-task"))
    verified = "?sslmode=verify-full&sslrootcert=/etc/ssl/rds/global-bundle.pem"
    assert {name: text(value) for name, value in told.items() if name.startswith("TEGATA_")} == {
        "TEGATA_ENVIRONMENT": "production",
        "TEGATA_LOG_FORMAT": "json",
        "TEGATA_BASE_URL": "https://{...}",
        "TEGATA_HOST": "0.0.0.0",
        "TEGATA_PORT": "8080",
        "TEGATA_WORKERS": "2",
        "TEGATA_DATABASE_AUTH": "aws_iam",
        "TEGATA_DATABASE_URL": f"postgresql://tegata_app@{{...}}:5432/idpserver{verified}",
        "TEGATA_DATABASE_READER_URL": f"postgresql://tegata_app@{{...}}:5432/idpserver{verified}",
        "TEGATA_DATABASE_POOL_SIZE": "3",
        "TEGATA_MASTER_KEY": "awssm:{...}#encryption_key",
        "TEGATA_TRUSTED_PROXIES": "10.0.1.0/24,10.0.2.0/24",
        "TEGATA_EMBEDDED_METRICS": "true",
        "TEGATA_DRAIN_SECONDS": "5",
        "TEGATA_SHUTDOWN_SECONDS": "20",
        "TEGATA_TRACES": "otlp",
    }


def test_reads_go_to_the_replica_and_writes_to_the_primary(idp: Assembly) -> None:
    task = find_task(idp, "idp-server-task")
    told = environment(find_container(idp, "idp-server-task"))
    hosts = {}
    for name in ("TEGATA_DATABASE_URL", "TEGATA_DATABASE_READER_URL"):
        (reference,) = (part for part in told[name]["Fn::Join"][1] if isinstance(part, dict))
        found = idp.find(task.stack, reference)
        assert found is not None
        hosts[name] = found["DBInstanceIdentifier"]
    assert hosts == {
        "TEGATA_DATABASE_URL": "idp-server-postgresql",
        "TEGATA_DATABASE_READER_URL": "idp-server-postgresql-replica",
    }


def test_only_subnets_of_the_load_balancer_are_believed(idp: Assembly) -> None:
    told = environment(find_container(idp, "idp-server-task"))
    public = {each["CidrBlock"] for each in idp.all("AWS::EC2::Subnet") if each.tags["Type"] == "public"}
    assert set(told["TEGATA_TRUSTED_PROXIES"].split(",")) == public


def test_traces_go_to_a_collector_of_a_fixed_version_that_no_sign_in_depends_on(idp: Assembly) -> None:
    collector = find_container(idp, "idp-server-task", "collector")
    stack = find_task(idp, "idp-server-task").stack
    assert collector["Image"] == {"Ref": "CollectorImage"}
    asked = idp.templates[stack]["Parameters"]["CollectorImage"]
    assert asked["Default"] == "public.ecr.aws/aws-observability/aws-otel-collector:v0.49.0"
    assert (collector["Essential"], collector["Memory"]) == (False, 256)
    assert collector["RestartPolicy"] == {"Enabled": True}
    assert environment(collector) == {"AOT_CONFIG_CONTENT": CONFIGURATION, "AWS_REGION": "ap-northeast-1"}
    told = environment(find_container(idp, "idp-server-task"))
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://127.0.0.1:4318"
    assert "endpoint: 127.0.0.1:4318" in CONFIGURATION


def test_the_collector_is_configured_as_the_page_says() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "trace-requests.md").read_text()
    assert f"```yaml\n{CONFIGURATION}```" in page


def test_development_is_one_small_task_without_traces(read_assembly) -> None:
    dev = read_assembly("idp", "dev")
    task = find_task(dev, "idp-server-dev-task")
    assert (task["Cpu"], task["Memory"]) == ("256", "512")
    (container,) = task["ContainerDefinitions"]
    told = environment(container)
    assert told["TEGATA_WORKERS"] == "1"
    assert {"TEGATA_TRACES", "TEGATA_DATABASE_READER_URL"}.isdisjoint(told)
    # Production's rules hold in every environment: TLS, IAM, no http.
    assert (told["TEGATA_ENVIRONMENT"], told["TEGATA_DATABASE_AUTH"]) == ("production", "aws_iam")
    target = dev.one("AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 2)


def test_staging_is_production_in_small(read_assembly) -> None:
    staging = read_assembly("idp", "staging")
    task = find_task(staging, "idp-server-staging-task")
    assert (task["Cpu"], task["Memory"], len(task["ContainerDefinitions"])) == ("1024", "2048", 2)
    target = staging.one("AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
