"""Tegata itself: its servers behind the load balancer, its worker, and what has to run before both (seed 001)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from tegata_infra import containers
from tegata_infra.config import Config
from tegata_infra.containers import Program
from tegata_infra.data import ADMINISTRATOR, DATABASE_NAME, POSTGRES_PARAMETERS, DataStack
from tegata_infra.edge import EdgeStack
from tegata_infra.images import find_repository
from tegata_infra.network import NetworkStack
from tegata_infra.secrets import SecretsStack
from tegata_infra.secrets_manager import grant_read
from tegata_infra.service_bootstrap import Start, prepare
from tegata_infra.service_environment import (
    APPLICATION,
    MAINTENANCE,
    MIGRATOR,
    Place,
    environment_of_bootstrap,
    environment_of_migration,
    environment_of_server,
    environment_of_worker,
)
from tegata_infra.service_tasks import OneOffTasks
from tegata_infra.service_tracing import add_collector, let_send_traces
from tegata_infra.stack import TegataStack

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = "deploy/image/Dockerfile"
ENTRY_POINT = ("tegata",)
SMALL = {"cpu": 256, "memory_mib": 512}
"""What the worker and the one-off tasks need: they wait for the database."""


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all tasks have in common."""

    image: ecs.ContainerImage
    log: logs.LogGroup
    execution_role: iam.Role
    place: Place


class ServiceStack(TegataStack):
    """The servers as `service`, the worker as `worker`, both in `cluster`. Bootstrap and migration come before."""

    def __init__(
        self,
        scope: Construct,
        config: Config,
        network: NetworkStack,
        edge: EdgeStack,
        *,
        data: DataStack,
        secrets: SecretsStack,
    ) -> None:
        # Without indentation: CloudFormation counts it, and takes 51,200 bytes from whoever has no bucket.
        super().__init__(
            scope,
            "Service",
            config,
            description=f"{config.prefix}: containers",
            suppress_template_indentation=True,
        )
        self._network, self._edge, self._data, self._secrets = network, edge, data, secrets
        self.cluster = containers.add_cluster(self, network)
        self.log = containers.add_log_group(self, network)
        self._shared = _Shared(
            image=find_image(self, REPOSITORY, DOCKERFILE),
            log=self.log,
            execution_role=containers.add_execution_role(
                self, "ExecutionRole", find_repository(self, edge.repository), self.log
            ),
            place=self._find_place(),
        )
        starter = containers.add_execution_role(
            self, "BootstrapExecutionRole", find_repository(self, edge.repository), self.log
        )
        start = prepare(starter, data, secrets)
        bootstrap, migration = self._define_bootstrap(start, starter), self._define_migration()
        tasks = OneOffTasks(self, network, self.cluster, [bootstrap, migration])
        self.service = self._add_server()
        self.worker = self._add_worker()
        for service in (self.service, self.worker):
            service.node.add_dependency(self._shared.execution_role)
        before = []
        if config.owner.migrate:
            tasks.add("Bootstrap", bootstrap, config.prefix, start.command, self.log.log_group_name)
            before.append(tasks.add("Migrate", migration, config.prefix, ["migrate"], self.log.log_group_name))
            for service in (self.service, self.worker):
                service.node.add_dependency(*before)
        secrets.rotate_logins(self, before)

    def _find_place(self) -> Place:
        data, owner = self._data, self.config.owner
        return Place(
            domain_name=self.say_or_ask("DomainName", owner.domain_name),
            database=data.database.db_instance_endpoint_address,
            database_name=DATABASE_NAME,
            reader=None if data.replica is None else data.replica.db_instance_endpoint_address,
            master_key=self._secrets.master_key,
            logins=self._secrets.environment_of_logins(),
        )

    def _add_server(self) -> ecs.FargateService:
        config, shared = self.config, self._shared
        role = self._add_task_role("ServerRole", "the servers", APPLICATION, with_master_key=True)
        connections = int(POSTGRES_PARAMETERS["max_connections"])
        server = Program(
            name=config.prefix,
            image=shared.image,
            entry_point=ENTRY_POINT,
            command=("serve",),
            environment=environment_of_server(config, shared.place, connections),
            health=(*ENTRY_POINT, "health"),
            port=config.app_port,
        )
        programs = [server]
        if config.service.tracing:
            let_send_traces(role)
            programs.append(add_collector(self))
        task = containers.add_task_definition(
            self,
            "Task",
            family=self.name("task"),
            programs=programs,
            task_role=role,
            execution_role=shared.execution_role,
            log=shared.log,
        )
        service = containers.add_service(
            self, "Service", name=self.name("service"), cluster=self.cluster, task=task, network=self._network
        )
        service.attach_to_application_target_group(self._edge.target_group)
        containers.add_scaling(self, service, self._edge.target_group)
        return service

    def _add_worker(self) -> ecs.FargateService:
        role = self._add_task_role("WorkerRole", "the worker", MAINTENANCE, with_master_key=True)
        task = self._define(
            "Worker", "worker", ("worker",), environment_of_worker(self.config, self._shared.place), role
        )
        return containers.add_service(
            self,
            "WorkerService",
            name=self.name("worker"),
            cluster=self.cluster,
            task=task,
            network=self._network,
            served=False,
            tasks=1,
        )

    def _define_migration(self) -> ecs.FargateTaskDefinition:
        role = self._add_task_role("MigrationRole", "migrations of the schema", MIGRATOR)
        environment = environment_of_migration(self.config, self._shared.place)
        return self._define("Migration", "migrate", ("migrate",), environment, role)

    def _define_bootstrap(self, start: Start, starter: iam.Role) -> ecs.FargateTaskDefinition:
        shared = self._shared
        program = Program(
            name=self.config.prefix,
            image=shared.image,
            entry_point=start.entry_point,
            command=start.command,
            environment=environment_of_bootstrap(self.config, shared.place, ADMINISTRATOR),
            secrets=start.secrets,
        )
        return containers.add_task_definition(
            self,
            "BootstrapTask",
            family=self.name("bootstrap"),
            programs=[program],
            task_role=containers.add_role(self, "BootstrapRole", "the bootstrap, which asks nothing of AWS"),
            execution_role=starter,
            log=shared.log,
            **SMALL,
        )

    def _define(
        self, construct_id: str, family: str, command: tuple[str, ...], environment: dict[str, str], role: iam.Role
    ) -> ecs.FargateTaskDefinition:
        shared = self._shared
        program = Program(
            name=self.config.prefix,
            image=shared.image,
            entry_point=ENTRY_POINT,
            command=command,
            environment=environment,
        )
        return containers.add_task_definition(
            self,
            f"{construct_id}Task",
            family=self.name(family),
            programs=[program],
            task_role=role,
            execution_role=shared.execution_role,
            log=shared.log,
            **SMALL,
        )

    def _add_task_role(
        self, construct_id: str, description: str, login: str, *, with_master_key: bool = False
    ) -> iam.Role:
        """Add a role that may log in at the database as one of Tegata's roles, and as no other."""
        role = containers.add_role(self, construct_id, description)
        secrets = self._secrets
        read = [secrets.api_credentials] if with_master_key else []
        read += [secret for pair, secret in secrets.pairs.items() if pair.group == login]
        if read:
            # Below the role: so that whatever waits for the role waits for this, too.
            grant_read(role, role, [secrets.seed.held(secret) for secret in read])
        if not secrets.pairs:
            self._let_log_in(role, login)
        return role

    def _let_log_in(self, role: iam.Role, login: str) -> None:
        data = self._data
        instances = [self.config.owner.database_resource_id or data.database.instance_resource_id]
        if login == APPLICATION and data.replica is not None:
            instances.append(data.replica.instance_resource_id)
        role.add_to_policy(
            iam.PolicyStatement(
                sid="LogInAtTheDatabase",
                actions=["rds-db:connect"],
                resources=[
                    self.format_arn(
                        service="rds-db",
                        resource="dbuser",
                        resource_name=f"{instance}/{login}",
                        arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
                    )
                    for instance in instances
                ],
            )
        )


def find_image(stack: TegataStack, directory: Path, dockerfile: str) -> ecs.ContainerImage:
    """Return the image that was named; without one it is built here if CDK may, or asked for by the template."""
    config = stack.config
    if config.owner.image is None and config.packaging == "assets":
        arm = config.service.architecture == "arm64"
        return ecs.ContainerImage.from_asset(
            str(directory),
            file=dockerfile,
            # .dockerignore leaves it out, which Docker does not mind; CDK's copy of the folder would be without it.
            exclude=[f"!{dockerfile}"],
            platform=ecr_assets.Platform.LINUX_ARM64 if arm else ecr_assets.Platform.LINUX_AMD64,
        )
    return ecs.ContainerImage.from_registry(stack.say_or_ask("Image", config.owner.image))
