"""Tasks that run once before the service gets a new version: a function runs them when CloudFormation says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambdas
from constructs import Construct

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.one_off_task import (
    FUNCTION_TIMEOUT_SECONDS,
    HANDLER,
    SERVICE_TIMEOUT_SECONDS,
    build_policy_document,
    inline_source,
)

if TYPE_CHECKING:
    from tegata_infra.network import NetworkStack
    from tegata_infra.stack import TegataStack


class OneOffTasks(Construct):
    """The function, and the tasks that it runs one after the other.

    Example:

        tasks = OneOffTasks(self, network, cluster, [migration])
        migrated = tasks.add("Migrate", migration, "idp-server", ["migrate"], log)
        service.node.add_dependency(migrated)
    """

    def __init__(
        self,
        stack: TegataStack,
        network: NetworkStack,
        cluster: ecs.Cluster,
        definitions: Sequence[ecs.FargateTaskDefinition],
    ) -> None:
        """Add the function, which may run these definitions and no others."""
        super().__init__(stack, "OneOffTasks")
        self._stack, self._network, self._cluster = stack, network, cluster
        self._last: cdk.CustomResource | None = None
        self.function = self._add_function(definitions)

    def add(
        self,
        construct_id: str,
        definition: ecs.FargateTaskDefinition,
        container: str,
        command: Sequence[str],
        log_group: str,
    ) -> cdk.CustomResource:
        """Add a run of a task, after those added before: when the stack is made, and when anything of it changes.

        A new image makes a new definition, and so runs the task again.
        """
        firewall = self._network.firewall
        resource = cdk.CustomResource(
            self,
            construct_id,
            resource_type="Custom::OneOffTask",
            service_token=self.function.function_arn,
            service_timeout=cdk.Duration.seconds(SERVICE_TIMEOUT_SECONDS),
            removal_policy=cdk.RemovalPolicy.DESTROY,
            properties={
                "Cluster": self._cluster.cluster_name,
                "TaskDefinition": definition.task_definition_arn,
                "Container": container,
                "Command": list(command),
                "Subnets": self._network.vpc.select_subnets(subnet_group_name="app").subnet_ids,
                "SecurityGroups": [firewall.app.security_group_id],
                "LogGroup": log_group,
                "LogPrefix": "ecs",
                "Essential": [container],
            },
        )
        # All that the task needs has to be there, its roles' rights above all.
        resource.node.add_dependency(definition, definition.task_role, self.function)
        if definition.execution_role is not None:
            resource.node.add_dependency(definition.execution_role)
        if self._last is not None:
            resource.node.add_dependency(self._last)
        acknowledge(resource, "what a task needs is listed in full, also what a reference says already", "W3005")
        self._last = resource
        return resource

    def _add_function(self, definitions: Sequence[ecs.FargateTaskDefinition]) -> lambdas.Function:
        stack, name = self._stack, self._stack.name("one-off-task")
        log = stack.add_log_group("OneOffTaskLog", f"/aws/lambda/{name}", self._network.logs_key)
        role = iam.Role(
            self,
            "Role",
            description=f"{stack.config.prefix}: runs the one-off tasks",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"run-tasks": self._build_policy(definitions)},
        )
        log.grant_write(role)
        acknowledge(
            role,
            "every revision of these families and every task of this cluster: their numbers are not known before",
            *(f"AwsSolutions-IAM5[Resource::{found}]" for found in self._list_wildcards(definitions)),
        )
        function = lambdas.Function(
            self,
            "Function",
            function_name=name,
            description="Runs an ECS task for CloudFormation, and waits for its end",
            runtime=lambdas.Runtime.PYTHON_3_13,
            architecture=lambdas.Architecture.ARM_64,
            handler=HANDLER,
            code=lambdas.Code.from_inline(inline_source()),
            timeout=cdk.Duration.seconds(FUNCTION_TIMEOUT_SECONDS),
            memory_size=256,
            role=role,
            log_group=log,
        )
        acknowledge(function, "inline code has boto3 with this version; the code is tested with it", "AwsSolutions-L1")
        acknowledge(function, "CDK itself says that a function comes after its role", "W3005")
        acknowledge(function, "CloudFormation waits for its answer, and tells what it was", "CKV_AWS_116")
        acknowledge(function, "speaks with AWS's own services alone, and holds no secret", "CKV_AWS_117")
        acknowledge(function, "CloudFormation calls it once for each task; a new account has ten in all", "CKV_AWS_115")
        return function

    def _build_policy(self, definitions: Sequence[ecs.FargateTaskDefinition]) -> iam.PolicyDocument:
        stack = self._stack
        roles = [role for each in definitions for role in (each.task_role, each.execution_role) if role is not None]
        document: dict[str, Any] = build_policy_document(
            partition=stack.partition,
            region=stack.region,
            account=stack.account,
            cluster_name=stack.name("cluster"),
            task_definition_arns=[self._family_arn(each) for each in definitions],
            passed_role_arns=list(dict.fromkeys(role.role_arn for role in roles)),
            stack_name=stack.stack_name,
        )
        return iam.PolicyDocument.from_json(document)

    def _family_arn(self, definition: ecs.FargateTaskDefinition) -> str:
        return self._stack.format_arn(
            service="ecs",
            resource="task-definition",
            resource_name=f"{definition.family}:*",
        )

    def _list_wildcards(self, definitions: Sequence[ecs.FargateTaskDefinition]) -> list[str]:
        """Return the ARNs with a `*` as the rules name them."""
        stack = self._stack
        account = stack.config.owner.account or "<AWS::AccountId>"
        here = f"{stack.region}:{account}"
        return [
            *(f"arn:aws:ecs:{here}:task-definition/{each.family}:*" for each in definitions),
            f"arn:aws:ecs:{here}:task/{stack.name('cluster')}/*",
            f"arn:aws:cloudformation:{here}:stack/{stack.stack_name}/*",
        ]
