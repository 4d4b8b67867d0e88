"""The front and the service with what a deployer may say otherwise: zone, certificate, image, a shell, ARM."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ecs as ecs
from tegata_infra.config import Deployment
from tegata_infra.environments import load_config
from tegata_infra.service import DOCKERFILE, REPOSITORY, find_image
from tegata_infra.service_environment import size_pool
from tegata_infra.stack import TegataStack
from tegata_infra.synthesis import synthesize

from .syntheses import ELSEWHERE, SAID, SEED
from .templates import Assembly, Resource

CERTIFICATE = "arn:aws:acm:ap-northeast-1:111111111111:certificate/12345678-90ab-cdef-1234-567890abcdef"


@pytest.fixture(scope="module")
def said(read_synthesis) -> Assembly:
    """Everything is said in variables, and more is wanted of the service."""
    return read_synthesis("said")


def listener(assembly: Assembly) -> Resource:
    return assembly.one("AWS::ElasticLoadBalancingV2::Listener", Port=443)


def parameters(assembly: Assembly) -> set[str]:
    return {name for template in assembly.templates.values() for name in template.get("Parameters", {})}


def test_what_was_said_is_not_asked_again(said: Assembly) -> None:
    assert parameters(said).isdisjoint({"Image", "DomainName", "CertificateArn", "CollectorImage"})


def test_a_zone_makes_the_certificate_and_the_name(said: Assembly) -> None:
    certificate = said.one("AWS::CertificateManager::Certificate")
    assert (certificate["DomainName"], certificate["ValidationMethod"]) == ("id.example.com", "DNS")
    assert certificate["DomainValidationOptions"] == [{"DomainName": "id.example.com", "HostedZoneId": "Z0123456789"}]
    assert said.find(certificate.stack, listener(said)["Certificates"][0]["CertificateArn"]) == certificate
    record = said.one("AWS::Route53::RecordSet")
    assert (record["Name"], record["Type"], record["HostedZoneId"]) == ("id.example.com.", "A", "Z0123456789")
    assert "AliasTarget" in record.properties


def test_the_image_that_was_named_runs_in_every_task(said: Assembly) -> None:
    tasks = said.all("AWS::ECS::TaskDefinition")
    assert {container["Image"] for task in tasks for container in task["ContainerDefinitions"]} == {SAID["IMAGE_URI"]}
    assert {task["RuntimePlatform"]["CpuArchitecture"] for task in tasks} == {"ARM64"}


def test_without_traces_nothing_of_them_is_there(said: Assembly) -> None:
    task = said.one("AWS::ECS::TaskDefinition", Family="idp-server-task")
    (container,) = task["ContainerDefinitions"]
    assert not [each["Name"] for each in container["Environment"] if each["Name"].startswith("OTEL_")]
    assert "xray:" not in str([policy.body for policy in said.all("AWS::IAM::Policy")])


def test_a_shell_for_an_incident_is_written_down(said: Assembly) -> None:
    service = said.one("AWS::ECS::Service", ServiceName="idp-server-service")
    assert service["EnableExecuteCommand"] is True
    cluster = said.one("AWS::ECS::Cluster")
    record = cluster["Configuration"]["ExecuteCommandConfiguration"]
    assert record["Logging"] == "OVERRIDE"
    group = said.find(cluster.stack, record["LogConfiguration"]["CloudWatchLogGroupName"])
    assert group is not None
    assert (group["LogGroupName"], "KmsKeyId" in group.properties) == ("/ecs/idp-server/shells", True)
    task = said.one("AWS::ECS::TaskDefinition", Family="idp-server-task")
    assert task["ContainerDefinitions"][0]["ReadonlyRootFilesystem"] is False


def test_a_zone_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="HOSTED_ZONE_ID without DOMAIN_NAME"):
        synthesize("plan-c", "dev", tmp_path, owner={"hosted_zone_id": "Z0123456789"})


@pytest.mark.parametrize("deployment", ["plan-b", "plan-c"])
def test_a_user_pool_without_its_client_is_refused(tmp_path: Path, deployment: Deployment) -> None:
    partly = {name: value for name, value in SEED.items() if name != "COGNITO_APP_CLIENT_ID_ENV"}
    with pytest.raises(ValueError, match="COGNITO_APP_CLIENT_ID_ENV"):
        synthesize(deployment, "production", tmp_path, environ=partly)


def test_a_certificate_that_was_named_is_taken_although_there_is_a_zone(tmp_path: Path) -> None:
    owner = {"hosted_zone_id": "Z0123456789", "domain_name": "id.example.com", "certificate_arn": CERTIFICATE}
    synthesize("plan-c", "dev", tmp_path, owner=owner)
    assembly = Assembly.read(tmp_path)
    assert listener(assembly)["Certificates"] == [{"CertificateArn": CERTIFICATE}]
    assert assembly.all("AWS::CertificateManager::Certificate") == []
    assert len(assembly.all("AWS::Route53::RecordSet")) == 1


@pytest.mark.parametrize(
    ("service", "pool"),
    [({}, 3), ({"cpu": 1024}, 7), ({"most_tasks": 2}, 10), ({"cpu": 4096, "most_tasks": 10}, 1)],
    ids=str,
)
def test_the_pool_is_what_the_database_has_for_each_process(service: Mapping[str, Any], pool: int) -> None:
    assert size_pool(load_config("idp", "production", {}, service=service), 200) == pool


def test_more_processes_than_connections_are_refused() -> None:
    config = load_config("idp", "production", {}, service={"cpu": 4096, "most_tasks": 20})
    with pytest.raises(ValueError, match="160 processes are too many for 200 connections"):
        size_pool(config, 200)


def test_on_the_way_back_to_an_older_release_nothing_is_migrated(read_synthesis) -> None:
    """An older release's `tegata migrate` refuses a newer schema, and would fail the deployment."""
    back = read_synthesis("on-the-way-back")
    assert back.all("Custom::OneOffTask") == []
    assert len(back.all("AWS::ECS::Service")) == 2


def test_after_a_restore_logins_name_the_instance_that_took_the_place(said: Assembly) -> None:
    logins = [
        json.dumps(statement["Resource"])
        for policy in said.all("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Action"] == "rds-db:connect"
    ]
    assert len(logins) == 3
    assert all(f"dbuser:{SAID['DATABASE_RESOURCE_ID']}/tegata_" in login for login in logins)


def test_without_an_image_cdk_builds_the_one_of_this_repository(tmp_path: Path) -> None:
    """With the CLI alone: nothing of a template that is handed out needs an asset. Docker would be asked later."""
    config = load_config("plan-c", "dev", {}, packaging="assets", service={"architecture": "arm64"})
    app = cdk.App(outdir=str(tmp_path), analytics_reporting=False)
    stack = TegataStack(app, "Image", config)
    task = ecs.FargateTaskDefinition(stack, "Task")
    task.add_container("Tegata", image=find_image(stack, REPOSITORY, DOCKERFILE))
    app.synth()
    (image,) = json.loads(next(tmp_path.glob("*.assets.json")).read_text())["dockerImages"].values()
    source = image["source"]
    assert (source["dockerFile"], source["platform"]) == ("deploy/image/Dockerfile", "linux/arm64")
    staged = tmp_path / source["directory"]
    assert (staged / source["dockerFile"]).exists()
    assert (staged / "packages" / "tegata" / "pyproject.toml").exists()
    # What .dockerignore leaves out is not copied for each synthesis either.
    assert not (staged / "docs").exists()
    assert not (staged / ".venv").exists()


def test_an_image_of_another_repository_may_be_fetched_there(said: Assembly) -> None:
    fetched = {
        json.dumps(statement["Resource"])
        for policy in said.all("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if "ecr:BatchGetImage" in statement["Action"]
    }
    assert fetched == {'"arn:aws:ecr:eu-west-1:123456789012:repository/team/tegata"'}


def test_with_an_image_in_nobodys_ecr_only_the_repository_that_was_made_may_be_read(read_synthesis) -> None:
    back = read_synthesis("on-the-way-back")
    tasks = back.all("AWS::ECS::TaskDefinition")
    images = [container["Image"] for task in tasks for container in task["ContainerDefinitions"]]
    assert images.count(ELSEWHERE) == len(tasks) >= 2
    fetched = [
        back.find(policy.stack, statement["Resource"])
        for policy in back.all("AWS::IAM::Policy")
        for statement in policy["PolicyDocument"]["Statement"]
        if "ecr:BatchGetImage" in statement["Action"]
    ]
    assert {found and found.type for found in fetched} == {"AWS::ECR::Repository"}
