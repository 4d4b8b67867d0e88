"""The committed templates as if they were deployed: references resolved, secrets made in a stand-in, nothing else."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tegata_infra.assembly import Assembly, Resource

SNAPSHOTS = Path(__file__).resolve().parent.parent / "snapshots"
ACCOUNT, REGION = "123456789012", "ap-northeast-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}


@dataclass
class Deployed:
    """The stacks of one environment in one account. `arns` has those that somebody has made really, by name."""

    templates: Mapping[str, Mapping[str, Any]]
    arns: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._written = Assembly(SNAPSHOTS, self.templates)

    @classmethod
    def read(cls, environment: str) -> Deployed:
        """Read the templates of Tegata in an environment."""
        files = sorted((SNAPSHOTS / "idp" / environment).glob("*.json"))
        return cls({file.stem: json.loads(file.read_text()) for file in files})

    @classmethod
    def read_with_passwords(cls) -> Deployed:
        """Read those of production in which Tegata's logins have passwords: network and data are the same."""
        usual = cls.read("production").templates
        same = {name: usual[name] for name in usual if name.endswith(("-Network", "-Data"))}
        files = sorted((SNAPSHOTS / "variants" / "passwords").glob("*.json"))
        return cls(same | {file.stem: json.loads(file.read_text()) for file in files})

    def all(self, kind: str) -> list[Resource]:
        """Return the resources of a type, in all stacks; their properties are resolved."""
        return [
            replace(each, body={**each.body, "Properties": self.resolve(each.stack, each.properties)})
            for each in self._written.all(kind)
        ]

    def one(self, kind: str, **properties: Any) -> Resource:
        """Return the only one with these properties."""
        found = [each for each in self.all(kind) if all(each.get(key) == properties[key] for key in properties)]
        assert len(found) == 1, f"{len(found)} of {kind} with {properties}"
        return found[0]

    def resolve(self, stack: str, value: Any) -> Any:
        """Return a value with its references replaced by what they would be in an account."""
        if isinstance(value, list):
            return [self.resolve(stack, each) for each in value]
        if not isinstance(value, dict):
            return value
        match value:
            case {"Ref": name}:
                return self._ref(stack, name)
            case {"Fn::GetAtt": [name, attribute]}:
                return self._attribute(stack, name, attribute)
            case {"Fn::ImportValue": exported}:
                return self._import(self.resolve(stack, exported))
            case {"Fn::Join": [separator, parts]}:
                return separator.join(str(self.resolve(stack, part)) for part in parts)
        return {key: self.resolve(stack, each) for key, each in value.items()}

    def arn_of_secret(self, name: str) -> str:
        return self.arns.get(name, f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf")

    def _import(self, name: str) -> Any:
        stack, value = self._written.exports[name]
        return self.resolve(stack, value)

    def _ref(self, stack: str, name: str) -> Any:
        if name in _PSEUDO:
            return _PSEUDO[name]
        body = self.templates[stack]["Resources"].get(name)
        if body is None:
            return f"<{name}>"
        properties = body.get("Properties", {})
        match body["Type"]:
            case "AWS::SecretsManager::Secret":
                return self.arn_of_secret(properties["Name"])
            case "AWS::SecretsManager::SecretTargetAttachment":
                return self.resolve(stack, properties["SecretId"])
            case "AWS::Lambda::Function":
                return properties["FunctionName"]
            case "AWS::IAM::Role":
                return f"{stack}-{name}"
            case "AWS::Logs::LogGroup":
                return self.resolve(stack, properties["LogGroupName"])
        return f"{stack}-{name}"

    def _attribute(self, stack: str, name: str, attribute: str) -> Any:
        kind = self.templates[stack]["Resources"][name]["Type"]
        ref = self._ref(stack, name)
        match kind, attribute:
            case "AWS::KMS::Key", "Arn":
                return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{uuid.uuid5(uuid.NAMESPACE_DNS, ref)}"
            case "AWS::IAM::Role", "Arn":
                return f"arn:aws:iam::{ACCOUNT}:role/{ref}"
            case "AWS::Lambda::Function", "Arn":
                return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{ref}"
            case "AWS::Logs::LogGroup", "Arn":
                return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{ref}:*"
        return f"{ref}.{attribute}"

    def make_secrets(self, client: Any, database: Mapping[str, Any]) -> None:
        """Make every secret as CloudFormation does: generate, then attach those that belong to the database to it."""
        for secret in self.all("AWS::SecretsManager::Secret"):
            made = client.create_secret(
                Name=secret.properties["Name"], SecretString=json.dumps(first_value(client, secret.properties))
            )
            self.arns[secret.properties["Name"]] = made["ARN"]
        for attachment in self.all("AWS::SecretsManager::SecretTargetAttachment"):
            arn = attachment.properties["SecretId"]
            held = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
            reader = {"readerHost": database["host"], "readerPort": database["port"]} if "readerHost" in held else {}
            client.update_secret(SecretId=arn, SecretString=json.dumps(held | database | reader))


def first_value(client: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return what CloudFormation puts into a new secret."""
    if "SecretString" in properties:
        return dict(json.loads(properties["SecretString"]))
    wanted = dict(properties["GenerateSecretString"])
    member, text = wanted.pop("GenerateStringKey"), wanted.pop("SecretStringTemplate")
    password = client.get_random_password(**wanted)["RandomPassword"]
    return dict(json.loads(text)) | {member: password}


def environments(deployment: str = "idp") -> Iterator[str]:
    """Yield the names of the environments whose templates are kept."""
    yield from sorted(path.name for path in (SNAPSHOTS / deployment).iterdir() if path.is_dir())
