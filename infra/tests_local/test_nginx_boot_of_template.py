"""The user data of the templates that are handed out: CloudFormation's part is done here, then an instance boots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from local_aws.backs import CERTIFIED, FIRST, Backs
from local_aws.instance import Instance

TEMPLATES = Path(__file__).parents[1] / "snapshots/plan-b"
DOMAIN = CERTIFIED.removeprefix("back.")


def find_user_data(environment: str) -> tuple[str, dict[str, str]]:
    """Return what the template's instances start with, and what stands for each reference in it."""
    template = json.loads((TEMPLATES / environment / "CdkScenarioBStack.json").read_text())
    resources = template["Resources"]
    (found,) = (each for each in resources.values() if each["Type"] == "AWS::EC2::LaunchTemplate")
    text = found["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    separator, parts = text["Fn::Join"]
    names = {part["Ref"]: name_of(resources, part["Ref"]) for part in parts if isinstance(part, dict)}
    return separator.join(part if isinstance(part, str) else names[part["Ref"]] for part in parts), names


def name_of(resources: dict[str, Any], reference: str) -> str:
    """What CloudFormation puts in place of a reference."""
    if reference == "DomainName":
        return DOMAIN
    properties = resources[reference]["Properties"]
    return str(properties.get("LogGroupName") or properties["Name"])


@pytest.mark.parametrize("environment", ["dev", "staging", "production"])
def test_an_instance_of_the_template_boots_and_passes_requests_on(
    environment: str, instance: Instance, backs: Backs
) -> None:
    text, names = find_user_data(environment)
    instance.put(FIRST)
    for there, here in (
        ("LISTEN_PORT='8080'", f"LISTEN_PORT='{instance.port}'"),
        ("listen 0.0.0.0:8080;", f"listen 0.0.0.0:{instance.port};"),
        ("https://$back_host:443$", f"https://$back_host:{backs.port}$"),
    ):
        assert there in text
        text = text.replace(there, here)
    ran = instance.boot(text)
    assert ran.returncode == 0, (ran.stdout, ran.stderr, instance.systemd.said)
    # Not from the front's subnets: what is said of a user is taken away.
    assert instance.get(**{"x-amzn-oidc-data": "said by a stranger"}) == f"{FIRST} /x "
    (told,) = instance.asked("cfn-signal")
    stack = "CdkScenarioBStack" if environment == "production" else f"CdkScenarioBStack-{environment}"
    assert told == f"--exit-code 0 --stack {stack} --resource NginxGroup --region ap-northeast-1"
    parameter = next(name for name in names.values() if name.endswith("/back-host"))
    assert f"PARAMETER={parameter}" in (instance.root / "etc/plan-b/back-host.env").read_text()
