"""The web application firewall before a public load balancer (seed 001, errata B33).

AWS's managed rules are written for web sites in general. What they mistake for an attack in OAuth's own requests is
counted instead of blocked, rule by rule, each with its reason: the counts are in the metrics and in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aws_cdk as cdk
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as waf

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack

COUNTED: Mapping[str, str] = {
    "NoUserAgent_HEADER": "services that ask for tokens or keys need not name themselves",
    "SizeRestrictions_QUERYSTRING": "a request object by value (RFC 9101) and an id_token_hint are beyond 2 kB; the "
    "application's own limit is 24 kB",
    "SizeRestrictions_BODY": "a request or an assertion may be beyond 8 kB; the application's own limit is 64 kB",
    "EC2MetaDataSSRF_QUERYARGUMENTS": "redirect_uri of a native app is http://localhost or a loopback address "
    "(RFC 8252 §7.3); it is compared with what is registered, and nothing is fetched from it",
    "EC2MetaDataSSRF_BODY": "the same redirect_uri in the body of POST to the token endpoint",
    "GenericRFI_QUERYARGUMENTS": "redirect_uri is an address, by number for a native app: nothing is included from it",
    "GenericRFI_BODY": "the same redirect_uri in the body of POST to the token endpoint",
    "CrossSiteScripting_BODY": "a password may contain any characters, and its owner must not be locked out by them; "
    "pages escape what they show, and a content security policy allows no script of others",
}
"""Rules of AWSManagedRulesCommonRuleSet that count instead of block, and why."""

GROUPS = ("AWSManagedRulesCommonRuleSet", "AWSManagedRulesKnownBadInputsRuleSet")
"""AWS's rule groups. Not the one about SQL: it refuses passwords and client secrets that look like it, and no
statement of Tegata is put together from input."""

SIGN_IN_PATHS = r"^/[^/]+/(sign-in|choose-account|consent|sign-out)$"
TOKEN_PATHS = r"^/[^/]+/(token|introspect|revoke)$"
"""Paths of Tegata at which somebody guesses passwords, or client secrets."""

_WINDOW_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests of one address in five minutes, of all or of those whose path matches."""

    name: str
    limit: int
    paths: str | None = None


def add_web_acl(
    stack: TegataStack, load_balancer_arn: str, rates: tuple[Rate, ...], key: kms.IKey | None = None
) -> waf.CfnWebACL:
    """Add the web ACL before a load balancer, and its log.

    Args:
        stack: whose.
        load_balancer_arn: what it stands before.
        rates: limits, the narrowest first.
        key: what the log is encrypted with.
    """
    rules = [*(_limit(rate) for rate in rates), *(_managed(group) for group in GROUPS)]
    acl = waf.CfnWebACL(
        stack,
        "WebAcl",
        name=stack.name("waf"),
        description=f"{stack.config.prefix} - front load balancer",
        scope="REGIONAL",
        default_action=waf.CfnWebACL.DefaultActionProperty(allow={}),
        custom_response_bodies={
            "slower": waf.CfnWebACL.CustomResponseBodyProperty(
                content_type="APPLICATION_JSON",
                content='{"error":"temporarily_unavailable","error_description":"too many requests"}',
            )
        },
        rules=[
            waf.CfnWebACL.RuleProperty(
                priority=priority, visibility_config=_seen_as(f"{stack.config.prefix}-{rule['name']}"), **rule
            )
            for priority, rule in enumerate(rules, start=1)
        ],
        visibility_config=_seen_as(stack.name("waf")),
    )
    cdk.Tags.of(acl).add("Name", stack.name("waf"))
    waf.CfnWebACLAssociation(stack, "WebAclAssociation", resource_arn=load_balancer_arn, web_acl_arn=acl.attr_arn)
    _log(stack, acl, key)
    return acl


def _seen_as(metric: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    # No samples: they show whole requests, with the codes and names in their queries, in the console.
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=metric, sampled_requests_enabled=False
    )


def _managed(group: str) -> dict[str, Any]:
    counted = COUNTED if group == "AWSManagedRulesCommonRuleSet" else {}
    return {
        "name": group,
        "override_action": waf.CfnWebACL.OverrideActionProperty(none={}),
        "statement": waf.CfnWebACL.StatementProperty(
            managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=group,
                rule_action_overrides=[
                    waf.CfnWebACL.RuleActionOverrideProperty(
                        name=rule, action_to_use=waf.CfnWebACL.RuleActionProperty(count={})
                    )
                    for rule in counted
                ]
                or None,
            )
        ),
    }


def _limit(rate: Rate) -> dict[str, Any]:
    return {
        "name": rate.name,
        "action": waf.CfnWebACL.RuleActionProperty(
            block=waf.CfnWebACL.BlockActionProperty(
                custom_response=waf.CfnWebACL.CustomResponseProperty(
                    response_code=429,
                    custom_response_body_key="slower",
                    response_headers=[waf.CfnWebACL.CustomHTTPHeaderProperty(name="Retry-After", value="60")],
                )
            )
        ),
        "statement": waf.CfnWebACL.StatementProperty(
            rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP",
                limit=rate.limit,
                evaluation_window_sec=_WINDOW_SECONDS,
                scope_down_statement=None if rate.paths is None else _at(rate.paths),
            )
        ),
    }


def _at(paths: str) -> waf.CfnWebACL.StatementProperty:
    return waf.CfnWebACL.StatementProperty(
        regex_match_statement=waf.CfnWebACL.RegexMatchStatementProperty(
            field_to_match=waf.CfnWebACL.FieldToMatchProperty(uri_path={}),
            regex_string=paths,
            text_transformations=[waf.CfnWebACL.TextTransformationProperty(priority=0, type="URL_DECODE")],
        )
    )


def _log(stack: TegataStack, acl: waf.CfnWebACL, key: kms.IKey | None) -> logs.LogGroup:
    """Keep what was blocked or counted, without what lets somebody in."""
    name = f"aws-waf-logs-{stack.config.prefix}"  # the name has to begin so
    group = stack.add_log_group("WebAclLog", name, key)
    destination = stack.format_arn(
        service="logs", resource="log-group", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
    )
    logging = waf.CfnLoggingConfiguration(
        stack,
        "WebAclLogging",
        resource_arn=acl.attr_arn,
        log_destination_configs=[destination],
        redacted_fields=list(_redacted()),
        logging_filter={
            "DefaultBehavior": "DROP",
            "Filters": [
                {
                    "Behavior": "KEEP",
                    "Requirement": "MEETS_ANY",
                    "Conditions": [
                        {"ActionCondition": {"Action": action}} for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
                    ],
                }
            ],
        },
    )
    logging.node.add_dependency(group)
    return group


def _redacted() -> Iterator[waf.CfnLoggingConfiguration.FieldToMatchProperty]:
    for header in ("authorization", "cookie", "dpop"):
        yield waf.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": header})
    yield waf.CfnLoggingConfiguration.FieldToMatchProperty(query_string={})
