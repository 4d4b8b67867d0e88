"""Plan B in one stack, under the seed's name: a front that logs users in, nginx, an internal load balancer, Fargate.

Users reach the front by HTTPS; it asks Cognito who they are and says so in headers. nginx passes everything on without
judging, the internal load balancer spreads it, and the application verifies all of it again (seed 003).
"""

from __future__ import annotations

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from aws_cdk import aws_elasticloadbalancingv2_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from tegata_infra import containers
from tegata_infra.addresses import build_cidr
from tegata_infra.certificate import find_zone
from tegata_infra.config import Config
from tegata_infra.firewall import NGINX_PORT
from tegata_infra.front import Front
from tegata_infra.images import find_repository
from tegata_infra.network import NetworkStack
from tegata_infra.proxy.back import add_back
from tegata_infra.proxy.instances import add_instances
from tegata_infra.proxy.user_data import Signal, build_user_data
from tegata_infra.proxy.user_pool import UserPool, add_user_pool
from tegata_infra.service import find_image
from tegata_infra.service_environment import list_front_networks
from tegata_infra.stack import TegataStack

SEED_NAME = "CdkScenarioBStack"
SESSION = cdk.Duration.hours(12)
"""How long a browser need not log in again. Tokens live an hour; the front asks for new ones meanwhile."""

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "plan-b"
DOCKERFILE = "Dockerfile"
HEALTH = (
    "python",
    "-c",
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)",
)
"""As the image's own check: a slim image has no curl."""

_GROUP_ID = "NginxGroup"


class ProxyStack(TegataStack):
    """The chain as `front`, `user_pool`, `instances`, `back` with `targets`, and the application as `service`."""

    def __init__(self, scope: Construct, config: Config, network: NetworkStack, repository: ecr.IRepository) -> None:
        super().__init__(
            scope,
            "Chain",
            config,
            description=f"{config.prefix}: load balancer with login, nginx, load balancer, Fargate",
            construct_id=SEED_NAME,
            stack_name=SEED_NAME if config.is_production else f"{SEED_NAME}-{config.environment}",
        )
        self._network = network
        self.host = self.say_or_ask("DomainName", config.owner.domain_name)
        self.back_name = f"back.{self.host}"
        self.user_pool = add_user_pool(self, self.host)
        self.back_certificate = self._find_back_certificate()
        self.back, self.targets = add_back(self, network, self.back_certificate)
        self.parameter = ssm.StringParameter(
            self,
            "BackHost",
            parameter_name=f"/{config.prefix}/back-host",
            description="DNS name of the internal load balancer; nginx reads it at boot and once a minute",
            string_value=self.back.load_balancer_dns_name,
        )
        self.instances = self._add_instances()
        self.nginx_targets = self._add_nginx_targets(self.instances)
        self.front = Front(self, network, self._log_in(self.user_pool))
        self.cluster = containers.add_cluster(self, network)
        self.service = self._add_service(repository)
        cdk.CfnOutput(self, "UserPoolId", value=self.user_pool.pool.user_pool_id)
        cdk.CfnOutput(self, "AppClientId", value=self.user_pool.client.user_pool_client_id)

    def _add_service(self, repository: ecr.IRepository) -> ecs.FargateService:
        log = containers.add_log_group(self, self._network)
        program = containers.Program(
            name=self.name("app"),
            image=find_image(self, EXAMPLE, DOCKERFILE),
            environment=self._build_environment(),
            health=HEALTH,
            port=self.config.app_port,
        )
        starter = containers.add_execution_role(self, "ExecutionRole", find_repository(self, repository), log)
        task = containers.add_task_definition(
            self,
            "Task",
            family=self.name("task"),
            programs=[program],
            # It asks nothing of AWS: keys are public, and whom to trust stands in its environment.
            task_role=containers.add_role(self, "TaskRole", "the application"),
            execution_role=starter,
            log=log,
        )
        service = containers.add_service(
            self, "Service", name=self.name("service"), cluster=self.cluster, task=task, network=self._network
        )
        service.attach_to_application_target_group(self.targets)
        # The role's rights are a resource of their own: without them no image can be fetched.
        service.node.add_dependency(starter)
        containers.add_scaling(self, service, self.targets)
        return service

    def _build_environment(self) -> dict[str, str]:
        """Return the variables of the application, by the names that `examples/plan-b/app` reads."""
        network = self.config.network
        subnets = [build_cidr(network.cidr, "app", zone) for zone in range(len(network.zones))]
        return {
            "COGNITO_USER_POOL_ID": self.user_pool.pool.user_pool_id,
            "COGNITO_REGION": self.user_pool.region,
            "COGNITO_APP_CLIENT_ID": self.user_pool.client.user_pool_client_id,
            "ALB_ARNS": self.front.load_balancer.load_balancer_arn,
            "TRUSTED_PEERS": ",".join(subnets),
            "FORWARDED_ALLOW_IPS": "none",
            "SIGNED_OUT_URL": self.user_pool.build_sign_out_url(f"https://{self.host}/"),
        }

    def _log_in(self, users: UserPool) -> elbv2.ListenerAction:
        return actions.AuthenticateCognitoAction(
            user_pool=users.pool,
            user_pool_client=users.client,
            user_pool_domain=users.domain,
            scope="openid email",
            session_timeout=SESSION,
            on_unauthenticated_request=elbv2.UnauthenticatedAction.AUTHENTICATE,
            # The firewall has the rule already, with the others.
            allow_https_outbound=False,
            next=elbv2.ListenerAction.forward([self.nginx_targets]),
        )

    def _find_back_certificate(self) -> elbv2.IListenerCertificate:
        """Return the certificate of the back's name: named, made by DNS in the hosted zone, or asked for."""
        owner = self.config.owner
        zone = find_zone(self)
        if owner.back_certificate_arn is None and zone is not None:
            return acm.Certificate(
                self,
                "BackCertificate",
                domain_name=self.back_name,
                validation=acm.CertificateValidation.from_dns(zone),
            )
        arn = self.say_or_ask("BackCertificateArn", owner.back_certificate_arn)
        return elbv2.ListenerCertificate.from_arn(arn)

    def _add_instances(self) -> autoscaling.AutoScalingGroup:
        log = self.add_log_group("NginxLog", f"/ec2/{self.name('nginx')}", self._network.logs_key)
        text = build_user_data(
            parameter_name=self.parameter.parameter_name,
            front_networks=list_front_networks(self.config.network),
            back_certificate_name=self.back_name,
            listen_port=NGINX_PORT,
            log_group=log.log_group_name,
            signal=Signal(self.stack_name, _GROUP_ID),
        )
        user_data = ec2.UserData.custom(text)
        group = add_instances(self, self._network, self.parameter, user_data)
        resource = group.node.default_child
        assert isinstance(resource, cdk.CfnResource)
        resource.override_logical_id(_GROUP_ID)
        group.role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                resources=[log.log_group_arn],
            )
        )
        group.role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["cloudformation:SignalResource"],
                resources=[self.stack_id],
            )
        )
        return group

    def _add_nginx_targets(self, group: autoscaling.AutoScalingGroup) -> elbv2.ApplicationTargetGroup:
        targets = elbv2.ApplicationTargetGroup(
            self,
            "NginxTargets",
            target_group_name=self.name("nginx-tg"),
            vpc=self._network.vpc,
            port=NGINX_PORT,
            protocol=elbv2.ApplicationProtocol.HTTP,
            target_type=elbv2.TargetType.INSTANCE,
            deregistration_delay=cdk.Duration.seconds(30),
            health_check=elbv2.HealthCheck(
                path="/nginx-health",
                interval=cdk.Duration.seconds(15),
                timeout=cdk.Duration.seconds(5),
                healthy_threshold_count=2,
                unhealthy_threshold_count=3,
                healthy_http_codes="200",
            ),
        )
        group.attach_to_application_target_group(targets)
        return targets
