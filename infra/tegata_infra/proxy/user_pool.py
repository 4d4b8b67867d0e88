"""Who logs users in at the front load balancer: a Cognito user pool, made here or already there (seed 003)."""

from __future__ import annotations

from typing import NamedTuple

import aws_cdk as cdk
from aws_cdk import aws_cognito as cognito

from tegata_infra.acknowledgement import acknowledge
from tegata_infra.stack import TegataStack

CALLBACK = "/oauth2/idpresponse"
"""Where a load balancer takes codes (AWS, "Authenticate users using an Application Load Balancer")."""


class UserPool(NamedTuple):
    """A pool, the client of the load balancer, and the pool's domain; the region as the application is told it."""

    pool: cognito.IUserPool
    client: cognito.IUserPoolClient
    domain: cognito.IUserPoolDomain
    region: str

    def build_sign_out_url(self, back_to: str) -> str:
        """Return where a browser ends its session with the pool, and is sent back from (Cognito, "Logout endpoint")."""
        host = f"https://{self.domain.domain_name}.auth.{self.region}.amazoncognito.com"
        return f"{host}/logout?client_id={self.client.user_pool_client_id}&logout_uri={back_to}"


def add_user_pool(stack: TegataStack, host: str) -> UserPool:
    """Add the pool for the application at `https://{host}`, or refer to the one that the deployer has named.

    One that is there needs a client with a secret, the code grant and the callback `https://{host}/oauth2/idpresponse`.

    Raises:
        ValueError: a pool is named without its client.
    """
    owner = stack.config.owner
    prefix = stack.say_or_ask("CognitoDomainPrefix", owner.cognito_domain_prefix)
    region = owner.cognito_region or stack.region
    if owner.cognito_user_pool_id is not None:
        if owner.cognito_app_client_id is None:
            raise ValueError("COGNITO_USER_POOL_ID_ENV needs COGNITO_APP_CLIENT_ID_ENV, a client of that pool")
        arn = stack.format_arn(
            service="cognito-idp", region=region, resource="userpool", resource_name=owner.cognito_user_pool_id
        )
        return UserPool(
            cognito.UserPool.from_user_pool_arn(stack, "Pool", arn),
            cognito.UserPoolClient.from_user_pool_client_id(stack, "Client", owner.cognito_app_client_id),
            cognito.UserPoolDomain.from_domain_name(stack, "PoolDomain", prefix),
            region,
        )
    pool = _add_pool(stack)
    client = pool.add_client(
        "Client",
        user_pool_client_name=stack.name("front"),
        generate_secret=True,
        prevent_user_existence_errors=True,
        enable_token_revocation=True,
        access_token_validity=cdk.Duration.hours(1),
        id_token_validity=cdk.Duration.hours(1),
        refresh_token_validity=cdk.Duration.days(1),
        supported_identity_providers=[cognito.UserPoolClientIdentityProvider.COGNITO],
        o_auth=cognito.OAuthSettings(
            flows=cognito.OAuthFlows(authorization_code_grant=True),
            scopes=[cognito.OAuthScope.OPENID, cognito.OAuthScope.EMAIL],
            callback_urls=[f"https://{host}{CALLBACK}"],
            logout_urls=[f"https://{host}/"],
        ),
    )
    domain = pool.add_domain("Domain", cognito_domain=cognito.CognitoDomainOptions(domain_prefix=prefix))
    return UserPool(pool, client, domain, region)


def _add_pool(stack: TegataStack) -> cognito.UserPool:
    production = stack.config.is_production
    pool = cognito.UserPool(
        stack,
        "Pool",
        user_pool_name=stack.name("users"),
        self_sign_up_enabled=False,
        sign_in_aliases=cognito.SignInAliases(email=True),
        sign_in_case_sensitive=False,
        account_recovery=cognito.AccountRecovery.EMAIL_ONLY,
        mfa=cognito.Mfa.REQUIRED,
        mfa_second_factor=cognito.MfaSecondFactor(sms=False, otp=True),
        password_policy=cognito.PasswordPolicy(
            min_length=12, require_digits=True, require_lowercase=True, require_symbols=True, require_uppercase=True
        ),
        feature_plan=cognito.FeaturePlan.PLUS if production else cognito.FeaturePlan.ESSENTIALS,
        standard_threat_protection_mode=cognito.StandardThreatProtectionMode.FULL_FUNCTION if production else None,
        deletion_protection=stack.config.environment != "dev",
        removal_policy=stack.retention(),
    )
    if not production:
        acknowledge(pool, "threat protection costs for each user; production has it", "AwsSolutions-COG8")
    return pool
