"""Draws what a deployment consists of, from its templates: who may speak with whom, where, and what stands beside.

Boxes are security groups with what belongs to them, arrows their rules: so the picture cannot say what is not so.
`python -m tegata_infra.diagram` renews the pictures of the documentation from `infra/build`.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from tegata_infra.assembly import Assembly, Resource
from tegata_infra.config import DEPLOYMENTS
from tegata_infra.synthesis import BUILD

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WORLD = "Internet"

WIDTH, GAP, LINE, MARGIN, HEAD = 268, 84, 18, 24, 30
BESIDE_COLUMNS = 4

Place = tuple[str, str]
"""A stack and a logical id."""


class Rule(NamedTuple):
    """From the group `source`, or the world, to `target`, at `port`."""

    source: Place | None
    target: Place
    port: int


class Box(NamedTuple):
    """What is drawn at a place: a title, lines, left and top."""

    title: str
    lines: list[str]
    left: int
    top: int

    @property
    def height(self) -> int:
        return HEAD + LINE * len(self.lines) + 10


def draw(assembly: Assembly, title: str) -> str:
    """Return the picture as SVG."""
    groups = {(group.stack, group.id): group for group in assembly.all("AWS::EC2::SecurityGroup")}
    rules = list_rules(assembly)
    members = find_members(assembly, groups)
    columns = arrange(set(groups), rules)
    boxes = _place(columns, groups, members)
    beside_top = max(box.top + box.height for box in boxes.values()) + 56
    beside = _place_beside(assembly, beside_top)
    width = MARGIN * 2 + WIDTH * len(columns) + GAP * (len(columns) - 1)
    width = max(width, MARGIN * 2 + BESIDE_COLUMNS * (WIDTH + MARGIN) - MARGIN)
    height = max(box.top + box.height for box in beside) + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" role="img" aria-label="{escape(title)}">',
        '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#57606a"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="32" font-size="17" font-weight="bold">{escape(title)}</text>',
        *_arrows(boxes, sorted(rules, key=str)),
        *(_box(box, "#ddf4ff", "#0969da") for box in boxes.values()),
        f'<text x="{MARGIN}" y="{beside_top - 12}" fill="#57606a">beside the requests</text>',
        *(_box(box, "#f6f8fa", "#8c959f") for box in beside),
        "</svg>\n",
    ]
    return "\n".join(parts)


def list_rules(assembly: Assembly) -> list[Rule]:
    """Return who may open connections to whom, by the rules for what comes in."""
    found = []
    for group in assembly.all("AWS::EC2::SecurityGroup"):
        for entry in group.get("SecurityGroupIngress", []):
            found.append(Rule(_source(assembly, group, entry), (group.stack, group.id), entry["FromPort"]))
    for ingress in assembly.all("AWS::EC2::SecurityGroupIngress"):
        target = assembly.follow(ingress.stack, ingress["GroupId"])
        assert target is not None
        found.append(Rule(_source(assembly, ingress, ingress.properties), target, ingress["FromPort"]))
    return found


def _source(assembly: Assembly, resource: Resource, entry: Mapping[str, Any]) -> Place | None:
    return assembly.follow(resource.stack, entry.get("SourceSecurityGroupId"))


def find_members(assembly: Assembly, groups: Mapping[Place, Resource]) -> dict[Place, list[str]]:
    """Return for each group the lines that say what belongs to it."""
    found: dict[Place, list[str]] = {place: [] for place in groups}
    for resource in assembly.resources:
        describe = DESCRIBED.get(resource.type)
        if describe is None:
            continue
        line = describe(assembly, resource)
        for place in _groups_of(assembly, resource):
            if line not in found[place]:
                found[place].append(line)
    return found


def _groups_of(assembly: Assembly, resource: Resource) -> set[Place]:
    names = ("SecurityGroups", "SecurityGroupIds", "VPCSecurityGroups", "VpcSecurityGroupIds")
    values = [value for name in names for value in resource.get(name, [])]
    values += resource.get("VpcConfig", {}).get("SecurityGroupIds", [])
    network = resource.get("NetworkConfiguration", {}).get("AwsvpcConfiguration", {})
    values += network.get("SecurityGroups", [])
    template = resource.get("LaunchTemplateData", {})
    values += template.get("SecurityGroupIds", [])
    return {place for value in values if (place := assembly.follow(resource.stack, value)) is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "by its reference"


def _database(_: Assembly, resource: Resource) -> str:
    if "SourceDBInstanceIdentifier" in resource.properties:
        return f"read replica, {resource['DBInstanceClass']}"
    zones = "two zones" if resource.get("MultiAZ") else "one zone"
    return f"PostgreSQL {resource['EngineVersion']}, {resource['DBInstanceClass']}, {zones}"


def _service(assembly: Assembly, resource: Resource) -> str:
    counted = resource.get("DesiredCount", "")
    scaled = [
        target
        for target in assembly.all("AWS::ApplicationAutoScaling::ScalableTarget")
        if any(
            value.get("Fn::GetAtt", [""])[0] == resource.id
            for value in _parts(target["ResourceId"])
            if isinstance(value, dict)
        )
    ]
    count = f"{scaled[0]['MinCapacity']} to {scaled[0]['MaxCapacity']}" if scaled else str(counted or 1)
    return f"{_text(resource.get('ServiceName', 'service'))}, {count} task{'s' if count != '1' else ''}"


def _parts(value: Any) -> list[Any]:
    return value["Fn::Join"][1] if isinstance(value, dict) and "Fn::Join" in value else [value]


def _balancer(_: Assembly, resource: Resource) -> str:
    where = "public" if resource["Scheme"] == "internet-facing" else "internal"
    return f"load balancer {_text(resource.get('Name', ''))}, {where}"


def _endpoint(_: Assembly, resource: Resource) -> str:
    service = resource["ServiceName"]
    return str(service if isinstance(service, str) else _parts(service)[-1]).split(".", 3)[-1]


DESCRIBED: Mapping[str, Callable[[Assembly, Resource], str]] = {
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _balancer,
    "AWS::ECS::Service": _service,
    "AWS::RDS::DBInstance": _database,
    "AWS::ElastiCache::ReplicationGroup": lambda _, r: f"Valkey {r['EngineVersion']}, {r['CacheNodeType']}",
    "AWS::EC2::VPCEndpoint": _endpoint,
    "AWS::Lambda::Function": lambda _, r: f"function {_text(r.get('FunctionName', 'in the network'))}",
    "AWS::EC2::LaunchTemplate": lambda _, r: f"nginx on EC2, {r['LaunchTemplateData']['InstanceType']}",
}


def arrange(groups: set[Place], rules: list[Rule]) -> list[list[Place | None]]:
    """Return the columns from left to right: a group stands right of all that may speak with it.

    >>> front, app, back = ("N", "Front"), ("N", "App"), ("N", "Back")
    >>> rules = [Rule(None, front, 443), Rule(front, app, 80), Rule(app, back, 1), Rule(front, back, 1)]
    >>> arrange({front, app, back}, rules)
    [[None], [('N', 'Front')], [('N', 'App')], [('N', 'Back')]]
    """
    rank: dict[Place | None, int] = {None: 0} | dict.fromkeys(groups, 1)
    for _ in range(len(groups)):
        for rule in rules:
            rank[rule.target] = max(rank[rule.target], rank[rule.source] + 1)
    last = max(rank.values())
    reached = {rule.target for rule in rules}
    for group in groups - reached:
        # What nobody may speak with stands beside what it speaks with.
        targets = [rank[rule.target] for rule in rules if rule.source == group]
        rank[group] = max(1, min(targets, default=last) - 1)
    return [sorted((g for g in rank if rank[g] == number), key=str) for number in range(last + 1)]


def _place(
    columns: list[list[Place | None]], groups: Mapping[Place, Resource], members: Mapping[Place, list[str]]
) -> dict[Place | None, Box]:
    boxes: dict[Place | None, Box] = {}
    for number, column in enumerate(columns):
        top = 64
        for place in column:
            left = MARGIN + number * (WIDTH + GAP)
            if place is None:
                box = Box(WORLD, ["browsers, applications"], left, top)
            else:
                box = Box(_text(groups[place]["GroupName"]), members[place] or ["(nothing)"], left, top)
            boxes[place] = box
            top += box.height + 36
    return boxes


BESIDE = {
    "AWS::WAFv2::WebACL": "WAF: web ACL",
    "AWS::EC2::NatGateway": "NAT gateway",
    "AWS::KMS::Key": "KMS: key, one for each purpose",
    "AWS::SecretsManager::Secret": "Secrets Manager: secret",
    "AWS::SecretsManager::RotationSchedule": "Secrets Manager: rotation",
    "AWS::Cognito::UserPool": "Cognito: user pool",
    "AWS::CloudWatch::Alarm": "CloudWatch: alarm",
    "AWS::CloudWatch::Dashboard": "CloudWatch: dashboard",
    "AWS::Logs::LogGroup": "CloudWatch: log group",
    "AWS::SNS::Topic": "SNS: topic for alarms",
    "AWS::CloudTrail::Trail": "CloudTrail: trail",
    "AWS::Backup::BackupPlan": "AWS Backup: plan",
    "AWS::SSM::Parameter": "SSM: parameter",
    "AWS::S3::Bucket": "S3: bucket for logs",
    "AWS::Lambda::Function": "Lambda: function",
    "AWS::IAM::Role": "IAM: role",
}


def _place_beside(assembly: Assembly, top: int) -> list[Box]:
    counted = Counter(resource.type for resource in assembly.resources)
    there = [(text, counted[kind]) for kind, text in BESIDE.items() if counted[kind]]
    step = 58
    return [
        Box(
            text,
            [f"{number} of them" if number > 1 else "one"],
            MARGIN + (index % BESIDE_COLUMNS) * (WIDTH + MARGIN),
            top + index // BESIDE_COLUMNS * (step + 12),
        )
        for index, (text, number) in enumerate(there)
    ]


def _box(box: Box, fill: str, stroke: str) -> str:
    left, top = box.left + 12, box.top + HEAD + 4 + LINE // 2
    lines = "".join(
        f'<text x="{left}" y="{top + LINE * number}" fill="#1f2328">{escape(line)}</text>'
        for number, line in enumerate(box.lines)
    )
    return (
        f'<rect x="{box.left}" y="{box.top}" width="{WIDTH}" height="{box.height}" rx="6" fill="{fill}" '
        f'stroke="{stroke}"/><text x="{box.left + 12}" y="{box.top + 21}" font-weight="bold">{escape(box.title)}</text>'
        f"{lines}"
    )


def _arrows(boxes: Mapping[Place | None, Box], rules: list[Rule]) -> list[str]:
    """Draw the rules: straight to the next column, and below what lies between to a later one."""
    drawn = []
    for rule in rules:
        source, target = boxes[rule.source], boxes[rule.target]
        between = [box for box in boxes.values() if source.left < box.left < target.left]
        lane = max((box.top + box.height for box in between), default=0) + 16 if between else None
        shift = {443: -6, 80: 6}.get(rule.port, 0) if source.title == WORLD else 0
        drawn.append(_arrow(source, target, rule.port, shift, lane))
    return drawn


def _arrow(source: Box, target: Box, port: int, shift: int, lane: int | None) -> str:
    left, right = source.left + WIDTH, target.left
    y1, y2 = source.top + 34 + shift, target.top + 34 + shift
    middle = right - GAP // 2
    bend = f"H{middle}" if lane is None else f"H{left + 16} V{lane} H{middle}"
    return (
        f'<path d="M{left} {y1} {bend} V{y2} H{right}" fill="none" stroke="#57606a" marker-end="url(#a)"/>'
        f'<text x="{right - 10}" y="{y2 + (14 if shift > 0 else -5)}" text-anchor="end" font-size="11" '
        f'fill="#57606a">{port}</text>'
    )


TITLES = {
    "idp": "Tegata on AWS, production",
    "plan-b": "Plan B: login at the front, nginx, a second load balancer",
    "plan-c": "Plan C: the front straight to the application",
}


def main() -> int:
    """Write the pictures of what `make synth` has written."""
    for deployment in DEPLOYMENTS:
        directory = BUILD / deployment / "production"
        if not directory.exists():
            print(f"{directory} is missing: make synth", file=sys.stderr)
            return 1
        picture = IMAGES / f"aws-{deployment}.svg"
        picture.write_text(draw(Assembly.read(directory), TITLES[deployment]))
        print(picture.relative_to(IMAGES.parents[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
