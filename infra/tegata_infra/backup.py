"""AWS Backup: a copy of the database each day, kept for 35, in a vault from which nobody takes it earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aws_cdk as cdk
from aws_cdk import aws_backup as backup
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_rds as rds

from tegata_infra.acknowledgement import acknowledge

if TYPE_CHECKING:
    from tegata_infra.stack import TegataStack

KEPT_DAYS = 35
LOCKED_DAYS = 7
"""In production nobody but who may lift the lock deletes a copy that is younger than this (governance mode)."""

MANAGED = "service-role/AWSBackupServiceRolePolicyForBackup"


def add_backup(stack: TegataStack, database: rds.DatabaseInstance) -> backup.BackupVault:
    """Add the vault, and the plan that puts the database into it at night.

    Where the deployer names a vault elsewhere (`BACKUP_COPY_VAULT_ARN`, in another region or account), each copy is
    copied there as well.
    """
    vault = backup.BackupVault(
        stack,
        "Vault",
        backup_vault_name=stack.name("vault"),
        encryption_key=stack.add_key("backup", "copies in the vault"),
        removal_policy=stack.retention(),
        lock_configuration=backup.LockConfiguration(
            min_retention=cdk.Duration.days(LOCKED_DAYS), max_retention=cdk.Duration.days(366)
        )
        if stack.config.is_production
        else None,
    )
    elsewhere = stack.config.owner.backup_copy_vault_arn
    copies = None
    if elsewhere is not None:
        target = backup.BackupVault.from_backup_vault_arn(stack, "VaultElsewhere", elsewhere)
        copies = [
            backup.BackupPlanCopyActionProps(destination_backup_vault=target, delete_after=cdk.Duration.days(KEPT_DAYS))
        ]
    plan = backup.BackupPlan(
        stack,
        "BackupPlan",
        backup_plan_name=stack.name("backup"),
        backup_vault=vault,
        backup_plan_rules=[
            backup.BackupPlanRule(
                rule_name="daily",
                # After RDS's own; in Japan that is three at night.
                schedule_expression=events.Schedule.cron(hour="18", minute="0"),
                start_window=cdk.Duration.hours(1),
                completion_window=cdk.Duration.hours(4),
                delete_after=cdk.Duration.days(KEPT_DAYS),
                copy_actions=copies,
            )
        ],
    )
    plan.add_selection(
        "Database",
        backup_selection_name="database",
        resources=[backup.BackupResource.from_rds_database_instance(database)],
        role=_add_role(stack),
        # The role's policy is said below; CDK would attach it once more.
        disable_default_backup_policy=True,
    )
    return vault


def _add_role(stack: TegataStack) -> iam.Role:
    role = iam.Role(
        stack,
        "BackupRole",
        description=f"{stack.config.prefix}: AWS Backup",
        assumed_by=iam.ServicePrincipal(
            "backup.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": stack.account}}
        ),
        managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(MANAGED)],
    )
    acknowledge(
        role,
        "AWS's own policy for its copies, which changes with what can be copied",
        f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{MANAGED}]",
    )
    return role
