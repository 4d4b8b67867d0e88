"""Whether CloudFormation takes the templates as they are: limits, references, nothing that has to be looked up."""

from __future__ import annotations

import json
import re
from typing import Any

from tegata_infra.assembly import Assembly, walk

AT_ONCE = 51_200
"""Bytes that CloudFormation takes in a request; more has to come from a bucket."""

AT_MOST = 1_000_000
"""Bytes that CloudFormation takes from a bucket."""

LIMITS = {"Resources": 500, "Parameters": 200, "Outputs": 200, "Mappings": 200}

ASSETS = re.compile(r"cdk-[a-z0-9]+-(assets|container-assets)|AssetParameters|/cdk-bootstrap/|asset\.[0-9a-f]{16}")


def check_sizes(assembly: Assembly) -> list[str]:
    """Every template is one that CloudFormation takes."""
    wrong = []
    for stack, template in assembly.templates.items():
        size = len(json.dumps(template, separators=(",", ":")).encode())
        if size > AT_MOST:
            wrong.append(f"{stack} has {size} bytes")
        wrong += [
            f"{stack} has {len(template.get(section, {}))} {section}"
            for section, most in LIMITS.items()
            if len(template.get(section, {})) > most
        ]
    return wrong


def check_small(assembly: Assembly) -> list[str]:
    """Templates without their blanks can be given to CloudFormation without a bucket."""
    sizes = {
        stack: len(json.dumps(template, separators=(",", ":")).encode())
        for stack, template in assembly.templates.items()
    }
    return [f"{stack} has {size} bytes" for stack, size in sizes.items() if size > AT_ONCE]


def check_references(assembly: Assembly) -> list[str]:
    """Stacks refer to each other by exports: all there, all used, never in a circle."""
    wrong, used, edges = [], set(), set()
    for stack, template in assembly.templates.items():
        for path, value in walk(template.get("Resources", {})):
            if not isinstance(value, dict):
                continue
            if "Fn::GetStackOutput" in value:
                wrong.append(f"{stack}: {'.'.join(path)} refers weakly, a change set may plan to replace what it feeds")
            if "Fn::ImportValue" in value:
                name = str(value["Fn::ImportValue"])
                used.add(name)
                if name in assembly.exports:
                    edges.add((stack, assembly.exports[name][0]))
                else:
                    wrong.append(f"{stack} imports {name}, which nobody exports")
    for template in assembly.templates.values():
        for _, value in walk(template.get("Outputs", {})):
            if isinstance(value, dict) and "Fn::ImportValue" in value:
                used.add(str(value["Fn::ImportValue"]))
    wrong += [f"{assembly.exports[name][0]} exports {name} for nobody" for name in assembly.exports.keys() - used]
    return wrong + [
        f"{one} and {other} need each other" for one, other in sorted(edges) if (other, one) in edges and one < other
    ]


def check_lookups(assembly: Assembly) -> list[str]:
    """Nothing has been left for a look-up, and no stand-in of one has got into a template."""
    manifest: Any = json.loads((assembly.directory / "manifest.json").read_text())
    wrong = [f"{one['key']} has to be looked up" for one in manifest.get("missing") or []]
    return wrong + [
        f"{stack}: {'.'.join(path)} is a stand-in"
        for stack, template in assembly.templates.items()
        for path, value in walk(template)
        if isinstance(value, str) and re.search(r"dummy|ami-1234|vpc-12345|DUMMY", value)
    ]


def check_assets(assembly: Assembly) -> list[str]:
    """The templates stand alone: what is in a file beside them would need CDK's bootstrap."""
    return [
        f"{stack}: {'.'.join(path)} needs a file"
        for stack, template in assembly.templates.items()
        for path, value in walk(template)
        if isinstance(value, str) and ASSETS.search(value)
    ]


VERSIONED = {
    "collector": "AWS's image, of which no digest could be looked up here: by version, or the deployer's digest"
}
"""Containers whose image may be named by a version, and why."""


def check_images(assembly: Assembly) -> list[str]:
    """Images are named by what is in them: by digest, or by a parameter that takes nothing else (errata B29)."""
    wrong = []
    for task in assembly.all("AWS::ECS::TaskDefinition"):
        parameters = assembly.templates[task.stack].get("Parameters", {})
        for container in task["ContainerDefinitions"]:
            name, image = container["Name"], container["Image"]
            if isinstance(image, dict) and image.get("Ref") in parameters:
                pattern = parameters[image["Ref"]].get("AllowedPattern", ".*")
                refused = ["registry.example/a", "registry.example/a:latest"]
                refused += [] if name in VERSIONED else ["registry.example/a:1.2"]
                wrong += [
                    f"{task.id}: the parameter of {name} takes {one}" for one in refused if re.fullmatch(pattern, one)
                ]
            elif not re.search(r"@sha256:[0-9a-f]{64}$", str(image)):
                wrong.append(f"{task.id}: {name} has the image {image}")
    return wrong


def check_parameters(assembly: Assembly) -> list[str]:
    """Every parameter says what it is for and which values it takes."""
    return [
        f"{stack}: {name} takes anything or says nothing"
        for stack, template in assembly.templates.items()
        for name, parameter in template.get("Parameters", {}).items()
        if not (
            parameter.get("AllowedPattern")
            or parameter.get("AllowedValues")
            or parameter["Type"].startswith("AWS::SSM")
        )
        or not (parameter.get("Description") or parameter["Type"].startswith("AWS::SSM"))
    ]
