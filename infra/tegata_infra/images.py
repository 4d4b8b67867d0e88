"""Where an image comes from, and who may fetch it there."""

from __future__ import annotations

import re

from aws_cdk import aws_ecr as ecr
from constructs import Construct

from tegata_infra.config import Config
from tegata_infra.containers import add_repository
from tegata_infra.stack import TegataStack

_ECR = re.compile(r"([0-9]{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^@:]+)(:[^@]+)?@.+")


class RepositoryStack(TegataStack):
    """The place for images as `repository`: there before the stack whose tasks need one."""

    def __init__(self, scope: Construct, config: Config) -> None:
        super().__init__(scope, "Repository", config, description=f"{config.prefix}: repository of images")
        self.repository = add_repository(self)


def find_repository(stack: TegataStack, made: ecr.IRepository) -> ecr.IRepository:
    """Return the repository of the image that the deployer has named; without a name, the one that was made."""
    image = stack.config.owner.image
    found = None if image is None else _ECR.fullmatch(image)
    if found is None:
        return made
    account, region, name, _ = found.groups()
    known = stack.node.try_find_child("NamedRepository")
    if known is not None:
        return known
    arn = stack.format_arn(service="ecr", account=account, region=region, resource="repository", resource_name=name)
    return ecr.Repository.from_repository_attributes(stack, "NamedRepository", repository_name=name, repository_arn=arn)
