"""What a deployment costs each month before anybody uses it: its templates, and prices with a date.

`python -m tegata_infra.cost` writes `docs/reference/aws-costs.md` from what `make synth` has written. Each type of
resource is either priced here or named as one that costs nothing by itself: a new type fails the page's test.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tegata_infra.assembly import Assembly, Resource
from tegata_infra.config import DEPLOYMENTS, ENVIRONMENTS
from tegata_infra.synthesis import BUILD

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "aws-costs.md"

HOURS = 730
"""Of a month, as AWS counts it."""

STATED = "November 2026"
"""When the prices below were written down: list prices on demand in US East (N. Virginia), in US dollars."""

PER_HOUR: Mapping[str, float] = {
    "NAT gateway": 0.045,
    "public IPv4 address": 0.005,
    "application load balancer": 0.0225,
    "load balancer capacity unit": 0.008,
    "interface endpoint in a zone": 0.01,
    "Fargate vCPU, arm64": 0.03238,
    "Fargate GB, arm64": 0.00356,
    "Fargate vCPU, x86_64": 0.04048,
    "Fargate GB, x86_64": 0.004445,
    "t4g.small": 0.0168,
    "db.t4g.micro": 0.016,
    "db.t4g.medium": 0.065,
    "db.t4g.large": 0.129,
    "db.r6g.large": 0.225,
    "db.r6g.xlarge": 0.45,
    "cache.t4g.small": 0.0256,
    "cache.r7g.large": 0.1752,
}
PER_MONTH: Mapping[str, float] = {
    "GB of database storage, gp3": 0.115,
    "GB of disk, gp3": 0.08,
    "KMS key": 1.0,
    "secret": 0.4,
    "web ACL": 5.0,
    "rule of a web ACL": 1.0,
    "alarm": 0.1,
    "composite alarm": 0.5,
    "dashboard": 3.0,
}


class Cost(NamedTuple):
    """A share of the bill: under which heading, how many dollars each month."""

    heading: str
    dollars: float


class UnpricedError(Exception):
    """A type of resource, or a class of machine, that nobody has put a price to."""


def price(resource: Resource, assembly: Assembly) -> list[Cost]:
    """Return what one resource costs each month.

    Raises:
        UnpricedError: it is of a type, or a size, that has no price here.
    """
    if resource.type in FREE:
        return []
    try:
        return PRICED[resource.type](resource, assembly)
    except KeyError as error:
        raise UnpricedError(f"{resource.type} {resource.id} in {resource.stack}: no price for {error}") from None


def add_up(assembly: Assembly) -> dict[str, float]:
    """Return the dollars of a month for each heading.

    Raises:
        UnpricedError: something has no price.
    """
    total: dict[str, float] = dict.fromkeys(HEADINGS, 0.0)
    for resource in assembly.resources:
        for cost in price(resource, assembly):
            total[cost.heading] += cost.dollars
    return total


NETWORK, FRONT, CONTAINERS = "NAT gateways and endpoints", "Load balancers and firewall", "Containers"
DATABASE, CACHE, INSTANCES = "PostgreSQL", "Valkey", "nginx on EC2"
SECRETS, WATCHING = "Keys and secrets", "Alarms and dashboards"
HEADINGS = (DATABASE, CACHE, CONTAINERS, INSTANCES, FRONT, NETWORK, SECRETS, WATCHING)


def _hourly(name: str, count: float = 1) -> float:
    return PER_HOUR[name] * HOURS * count


def _database(resource: Resource, assembly: Assembly) -> list[Cost]:
    zones = 2 if resource.get("MultiAZ") else 1
    # A replica does not say its size: it has that of its source, which it names by an ARN in pieces.
    (source,) = [each for each in assembly.all("AWS::RDS::DBInstance") if "AllocatedStorage" in each.properties]
    storage = int(source["AllocatedStorage"]) * PER_MONTH["GB of database storage, gp3"]
    return [Cost(DATABASE, zones * (_hourly(resource["DBInstanceClass"]) + storage))]


def _cache(resource: Resource, _: Assembly) -> list[Cost]:
    return [Cost(CACHE, _hourly(resource["CacheNodeType"], resource["NumCacheClusters"]))]


def _service(resource: Resource, assembly: Assembly) -> list[Cost]:
    task = assembly.find(resource.stack, resource["TaskDefinition"])
    assert task is not None
    kind = "arm64" if task["RuntimePlatform"]["CpuArchitecture"] == "ARM64" else "x86_64"
    cpu, memory = int(task["Cpu"]) / 1024, int(task["Memory"]) / 1024
    one = _hourly(f"Fargate vCPU, {kind}", cpu) + _hourly(f"Fargate GB, {kind}", memory)
    return [Cost(CONTAINERS, one * count_tasks(resource, assembly))]


def count_tasks(service: Resource, assembly: Assembly) -> int:
    """Return how many tasks of a service run when there is nothing to do."""
    for target in assembly.all("AWS::ApplicationAutoScaling::ScalableTarget"):
        parts = target["ResourceId"].get("Fn::Join", ["", []])[1]
        if any(isinstance(part, dict) and part.get("Fn::GetAtt", [""])[0] == service.id for part in parts):
            return int(target["MinCapacity"])
    return int(service.get("DesiredCount", 1))


def _balancer(resource: Resource, _: Assembly) -> list[Cost]:
    own = _hourly("application load balancer") + _hourly("load balancer capacity unit")
    addresses = len(resource["Subnets"]) if resource["Scheme"] == "internet-facing" else 0
    return [Cost(FRONT, own + _hourly("public IPv4 address", addresses))]


def _endpoint(resource: Resource, _: Assembly) -> list[Cost]:
    if resource.get("VpcEndpointType") != "Interface":
        return []
    return [Cost(NETWORK, _hourly("interface endpoint in a zone", len(resource["SubnetIds"])))]


def _group(resource: Resource, assembly: Assembly) -> list[Cost]:
    (template,) = assembly.all("AWS::EC2::LaunchTemplate")
    data = template["LaunchTemplateData"]
    disks = sum(disk["Ebs"]["VolumeSize"] for disk in data["BlockDeviceMappings"])
    one = _hourly(data["InstanceType"]) + disks * PER_MONTH["GB of disk, gp3"]
    return [Cost(INSTANCES, one * int(resource["MinSize"]))]


def _secret(resource: Resource, _: Assembly) -> list[Cost]:
    return [Cost(SECRETS, PER_MONTH["secret"] * (1 + len(resource.get("ReplicaRegions", []))))]


def _web_acl(resource: Resource, _: Assembly) -> list[Cost]:
    return [Cost(FRONT, PER_MONTH["web ACL"] + PER_MONTH["rule of a web ACL"] * len(resource["Rules"]))]


def _each(heading: str, dollars: float) -> Callable[[Resource, Assembly], list[Cost]]:
    return lambda _, __: [Cost(heading, dollars)]


PRICED: Mapping[str, Callable[[Resource, Assembly], list[Cost]]] = {
    "AWS::RDS::DBInstance": _database,
    "AWS::ElastiCache::ReplicationGroup": _cache,
    "AWS::ECS::Service": _service,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _balancer,
    "AWS::EC2::VPCEndpoint": _endpoint,
    "AWS::EC2::NatGateway": _each(NETWORK, _hourly("NAT gateway")),
    "AWS::EC2::EIP": _each(NETWORK, _hourly("public IPv4 address")),
    "AWS::AutoScaling::AutoScalingGroup": _group,
    "AWS::SecretsManager::Secret": _secret,
    "AWS::KMS::Key": _each(SECRETS, PER_MONTH["KMS key"]),
    "AWS::KMS::ReplicaKey": _each(SECRETS, PER_MONTH["KMS key"]),
    "AWS::WAFv2::WebACL": _web_acl,
    "AWS::CloudWatch::Alarm": _each(WATCHING, PER_MONTH["alarm"]),
    "AWS::CloudWatch::CompositeAlarm": _each(WATCHING, PER_MONTH["composite alarm"]),
    "AWS::CloudWatch::Dashboard": _each(WATCHING, PER_MONTH["dashboard"]),
}

FREE = frozenset({"Custom::OneOffTask"}) | frozenset(
    f"AWS::{name}"
    for name in [
        "ApplicationAutoScaling::ScalableTarget",
        "ApplicationAutoScaling::ScalingPolicy",
        "AutoScaling::ScalingPolicy",
        "CertificateManager::Certificate",
        "CloudFormation::CustomResource",
        "CloudFormation::WaitConditionHandle",
        "EC2::FlowLog",
        "EC2::InternetGateway",
        "EC2::LaunchTemplate",
        "EC2::Route",
        "EC2::RouteTable",
        "EC2::SecurityGroup",
        "EC2::SecurityGroupEgress",
        "EC2::SecurityGroupIngress",
        "EC2::Subnet",
        "EC2::SubnetRouteTableAssociation",
        "EC2::VPC",
        "EC2::VPCGatewayAttachment",
        "ECS::Cluster",
        "ECS::ClusterCapacityProviderAssociations",
        "ECS::TaskDefinition",
        "ElastiCache::ParameterGroup",
        "ElastiCache::SubnetGroup",
        "ElastiCache::User",
        "ElastiCache::UserGroup",
        "ElasticLoadBalancingV2::Listener",
        "ElasticLoadBalancingV2::ListenerRule",
        "ElasticLoadBalancingV2::TargetGroup",
        "IAM::InstanceProfile",
        "IAM::ManagedPolicy",
        "IAM::Policy",
        "IAM::Role",
        "KMS::Alias",
        "Lambda::Permission",
        "Lambda::EventInvokeConfig",
        "Logs::MetricFilter",
        "Logs::ResourcePolicy",
        "RDS::DBParameterGroup",
        "RDS::DBSubnetGroup",
        "Route53::RecordSet",
        "S3::BucketPolicy",
        "SNS::Subscription",
        "SNS::TopicPolicy",
        "SQS::QueuePolicy",
        "SSM::Parameter",
        "SecretsManager::ResourcePolicy",
        "SecretsManager::RotationSchedule",
        "SecretsManager::SecretTargetAttachment",
        "WAFv2::LoggingConfiguration",
        "WAFv2::WebACLAssociation",
        "XRay::Group",
        "XRay::SamplingRule",
        "Events::Rule",
        "Backup::BackupPlan",
        "Backup::BackupSelection",
        "Cognito::UserPoolClient",
        "Cognito::UserPoolDomain",
        "Backup::BackupVault",
        "CloudTrail::Trail",
        "Cognito::UserPool",
        "ECR::Repository",
        "Lambda::Function",
        "Logs::LogGroup",
        "S3::Bucket",
        "SNS::Topic",
        "SQS::Queue",
    ]
)
"""What costs nothing, or nothing until it is used."""

_TITLES = {"idp": "Tegata", "plan-b": "Plan B", "plan-c": "Plan C"}

_INTRODUCTION = f"""# What it costs on AWS

Dollars each month, for what runs when nobody uses it, added up from the templates. The prices are list prices on demand
in US East (N. Virginia), written down in {STATED} from public pages and from memory, not fetched from AWS: before
you decide, put the figures into AWS's own calculator. Tokyo, the region that is set, is dearer by a fifth to a third.
Made by `python -m tegata_infra.cost`; a test compares.
"""

_REST = """
Not in it, because it depends on use: traffic out of AWS and through NAT gateways (0.045 for each GB there), the load
balancers' capacity beyond one unit, logs (0.50 for each GB written), requests that the firewall looks at (0.60 for each
million), backups beyond the size of the database (0.095 for each GB), enhanced monitoring and container insights,
traces, the image's storage, users of Cognito beyond its free ones (in Plan B's production 0.02 for each user that signs
in, from the first: threat protection has no free ones). Calls of KMS and Secrets Manager are cents: secrets
are cached.

## With a small budget

`dev` is the smallest that works: one NAT gateway, a `t4g.micro` without standby or replica, no cache, one small task,
no copies of secrets in another region. Production refuses such a configuration. Between the two, in steps:

| change to production | saves about |
|---|---|
| no Valkey (`cache=None`): Tegata needs none | {cache:.0f} |
| no read replica (`replica_class=None`) | {replica:.0f} |
| `r6g.large` in place of `r6g.xlarge` | {smaller:.0f} |
| tasks of half a core and 1 GB in place of 2 and 4 | {tasks:.0f} |
| one NAT gateway (in staging; production refuses it) | {nat:.0f} |

A year's reservation takes about a third off PostgreSQL and Valkey, a savings plan about a fifth off the containers.

## The prices

| each hour | dollars |
|---|---|
{hourly}

| each month | dollars |
|---|---|
{monthly}
"""


def build_page(assemblies: Mapping[tuple[str, str], Assembly]) -> str:
    """Return the page, from the templates of each deployment and environment."""
    parts = [_INTRODUCTION]
    for deployment in DEPLOYMENTS:
        sums = [add_up(assemblies[deployment, environment]) for environment in ENVIRONMENTS]
        lines = [f"| {_TITLES[deployment]} | {' | '.join(ENVIRONMENTS)} |", "|---|--:|--:|--:|"]
        for heading in HEADINGS:
            if any(each[heading] for each in sums):
                lines.append(f"| {heading} | {' | '.join(f'{each[heading]:,.0f}' for each in sums)} |")
        lines.append(f"| **each month** | {' | '.join(f'**{sum(each.values()):,.0f}**' for each in sums)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts) + _REST.format(**_savings(assemblies["idp", "production"]))


def _savings(production: Assembly) -> dict[str, Any]:
    storage = 100 * PER_MONTH["GB of database storage, gp3"]
    sums = add_up(production)
    tasks = 2 * (_hourly("Fargate vCPU, x86_64", 1.5) + _hourly("Fargate GB, x86_64", 3))
    return {
        "cache": sums[CACHE],
        "replica": _hourly("db.r6g.large") + storage,
        "smaller": 2 * (_hourly("db.r6g.xlarge") - _hourly("db.r6g.large")),
        "tasks": tasks,
        "nat": _hourly("NAT gateway") + _hourly("public IPv4 address"),
        "hourly": "\n".join(f"| {name} | {dollars:g} |" for name, dollars in PER_HOUR.items()),
        "monthly": "\n".join(f"| {name} | {dollars:g} |" for name, dollars in PER_MONTH.items()),
    }


def main() -> int:
    """Write the page."""
    places = [(deployment, environment) for deployment in DEPLOYMENTS for environment in ENVIRONMENTS]
    if missing := [place for place in places if not (BUILD / "/".join(place)).exists()]:
        print(f"{missing} is not there: make synth", file=sys.stderr)
        return 1
    PAGE.write_text(build_page({place: Assembly.read(BUILD / "/".join(place)) for place in places}))
    print(PAGE.relative_to(PAGE.parents[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
