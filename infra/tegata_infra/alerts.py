"""Where alarms go: one topic, encrypted, that takes messages from this account's alarms alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack

ALARMS = "cloudwatch.amazonaws.com"


def add_topic(stack: TegataStack) -> sns.Topic:
    """Add the topic `idp-server-alerts`, and the subscription of the address that was named, if any."""
    key = stack.add_key("alerts", "messages of alarms")
    here = {"StringEquals": {"aws:SourceAccount": stack.account}}
    # An alarm cannot be delivered to an encrypted topic without this (Amazon SNS, "Encryption at rest").
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AlarmsWriteMessages",
            principals=[iam.ServicePrincipal(ALARMS)],
            actions=["kms:Decrypt", "kms:GenerateDataKey*"],
            resources=["*"],
            conditions=here,
        )
    )
    topic = sns.Topic(stack, "Alerts", topic_name=stack.name("alerts"), master_key=key, enforce_ssl=True)
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="AlarmsPublish",
            principals=[iam.ServicePrincipal(ALARMS)],
            actions=["sns:Publish"],
            resources=[topic.topic_arn],
            conditions=here,
        )
    )
    _subscribe(stack, topic)
    return topic


def _subscribe(stack: TegataStack, topic: sns.Topic) -> None:
    said = stack.config.owner.alert_mail
    subscription = sns.CfnSubscription(
        stack,
        "AlertMailSubscription",
        topic_arn=topic.topic_arn,
        protocol="email",
        endpoint=stack.say_or_ask("AlertMail", said),
    )
    if said is None:
        named = cdk.Fn.condition_not(cdk.Fn.condition_equals(stack.say_or_ask("AlertMail", None), ""))
        subscription.cfn_options.condition = cdk.CfnCondition(stack, "AlertMailIsNamed", expression=named)
