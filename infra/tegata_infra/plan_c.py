"""Plan C: the front load balancer straight to the application on Fargate, which verifies tokens by itself.

The same application as in Plan B, without nginx and without a login at the load balancer: callers bring their tokens.
With `edge.jwt_validation` the load balancer refuses requests without a good token before they reach the application,
which verifies them all the same: the load balancer knows RS256 alone, and nothing of who may do what.
"""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as elbv2
from constructs import Construct

from tegata_infra import containers
from tegata_infra.config import Config
from tegata_infra.containers import Program
from tegata_infra.edge import add_target_group
from tegata_infra.front import Front
from tegata_infra.images import find_repository
from tegata_infra.network import NetworkStack
from tegata_infra.service import REPOSITORY, find_image
from tegata_infra.stack import TegataStack

EXAMPLE, DOCKERFILE = REPOSITORY / "examples" / "plan-b", "Dockerfile"
HEALTH_PATH = "/health"
HEALTH = (
    "python",
    "-c",
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)",
)
"""That of the example's Dockerfile: its image has no curl."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are good: what the load balancer checks, and what the application is told."""

    issuer: str
    keys: str
    claims: tuple[tuple[str, str], ...]
    environment: dict[str, str]


class PlanCEdgeStack(TegataStack):
    """The front as `front`, the group of the containers as `target_group`, the place of images as `repository`."""

    def __init__(self, scope: Construct, config: Config, network: NetworkStack) -> None:
        super().__init__(scope, "Edge", config, description=f"{config.prefix}: edge")
        self.repository = containers.add_repository(self)
        self.target_group = add_target_group(self, network, HEALTH_PATH)
        forward = elbv2.ListenerAction.forward([self.target_group])
        issuer = find_issuer(self) if config.edge.jwt_validation else None
        action = forward if issuer is None else validating(issuer, forward)
        self.front = Front(self, network, action)
        if issuer is not None:
            check_claims(self.front.listener, issuer)


class PlanCServiceStack(TegataStack):
    """The cluster as `cluster` and the application as `service`."""

    def __init__(self, scope: Construct, config: Config, network: NetworkStack, edge: PlanCEdgeStack) -> None:
        super().__init__(scope, "Service", config, description=f"{config.prefix}: containers")
        self.cluster = containers.add_cluster(self, network)
        log = containers.add_log_group(self, network)
        execution_role = containers.add_execution_role(
            self, "ExecutionRole", find_repository(self, edge.repository), log
        )
        program = Program(
            name=self.name("app"),
            image=find_image(self, EXAMPLE, DOCKERFILE),
            # Nothing logs users in before it: no header but Authorization is believed.
            environment={**find_issuer(self).environment, "FORWARDED_ALLOW_IPS": "none"},
            health=HEALTH,
            port=config.app_port,
        )
        task = containers.add_task_definition(
            self,
            "Task",
            family=self.name("task"),
            programs=[program],
            task_role=containers.add_role(self, "TaskRole", "the application, which asks nothing of AWS"),
            execution_role=execution_role,
            log=log,
        )
        self.service = self._serve(task, network, edge)
        self.service.node.add_dependency(execution_role)

    def _serve(
        self, task: ecs.FargateTaskDefinition, network: NetworkStack, edge: PlanCEdgeStack
    ) -> ecs.FargateService:
        service = containers.add_service(
            self, "Service", name=self.name("service"), cluster=self.cluster, task=task, network=network
        )
        service.attach_to_application_target_group(edge.target_group)
        containers.add_scaling(self, service, edge.target_group)
        return service


def find_issuer(stack: TegataStack) -> Issuer:
    """Return whose tokens are accepted: the user pool's if one was named, else those of a tenant of Tegata's.

    Raises:
        ValueError: a user pool was named without its client, whose id is all that says for whom a token is.
    """
    owner = stack.config.owner
    if owner.cognito_user_pool_id is not None:
        if owner.cognito_app_client_id is None:
            raise ValueError("COGNITO_USER_POOL_ID_ENV without COGNITO_APP_CLIENT_ID_ENV: tokens for whom?")
        pool, client = owner.cognito_user_pool_id, owner.cognito_app_client_id
        region = owner.cognito_region or pool.partition("_")[0]
        issuer = f"https://cognito-idp.{region}.amazonaws.com/{pool}"
        return Issuer(
            issuer,
            f"{issuer}/.well-known/jwks.json",
            # A token of Cognito's for access has no aud.
            (("client_id", client), ("token_use", "access")),
            {"COGNITO_USER_POOL_ID": pool, "COGNITO_REGION": region, "COGNITO_APP_CLIENT_ID": client},
        )
    issuer = stack.say_or_ask("TokenIssuer", owner.issuer)
    audience = stack.say_or_ask("TokenAudience", owner.audience)
    return Issuer(
        issuer, f"{issuer}/jwks", (("aud", audience),), {"TEGATA_ISSUER": issuer, "TEGATA_AUDIENCE": audience}
    )


def validating(issuer: Issuer, after: elbv2.ListenerAction) -> elbv2.ListenerAction:
    """Return the action that lets only requests with a token of the issuer's go on."""
    return elbv2.ListenerAction.authenticate_jwt(issuer=issuer.issuer, jwks_endpoint=issuer.keys, next=after)


def check_claims(listener: elbv2.ApplicationListener, issuer: Issuer) -> None:
    """Let the load balancer look at the claims as well that say for whom a token is: it does not by itself."""
    resource = listener.node.default_child
    assert isinstance(resource, elbv2.CfnListener)
    resource.add_property_override(
        "DefaultActions.0.JwtValidationConfig.AdditionalClaims",
        [{"Format": "single-string", "Name": name, "Values": [value]} for name, value in issuer.claims],
    )
