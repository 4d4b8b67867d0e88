"""The how-to page from an empty account to rotating credentials, command by command; then the runbook's."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from .conftest import Account, blocks

HOW_TO, RUNBOOK = "rotate-secrets-on-aws.md", "secrets-runbook.md"


def until(holds: Callable[[], bool], what: str) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(what)


def test_the_page_leads_from_an_empty_account_to_credentials_that_rotate(account: Account) -> None:
    made, *rest = blocks(HOW_TO, "sh")
    roles = account.client("iam")
    roles.create_role(RoleName="shop-prod-application", AssumeRolePolicyDocument="{}")
    # The application's policy and the alarms come after the rotations have been asked for.
    account.run("\n".join([made, 'cp "$BUNDLE" "$place/global-bundle.pem"', *rest]))
    until(lambda: account.value("shop-prod-secret-database")["username"] == "shop_a", "the first rotation did not end")
    until(lambda: "keys" in account.value("shop-prod-secret-jwt"), "no signing keys were made")
    assert account.failures == []
    assert account.logs_in(account.value("shop-prod-secret-database"))
    names = roles.list_role_policies(RoleName="shop-prod-rotation")["PolicyNames"]
    assert sorted(names) == ["rotate-database", "rotate-jwt"]
    alarms = account.client("cloudwatch")
    assert len(alarms.describe_alarms()["MetricAlarms"]) == 2
    for client in (roles, alarms):
        client.close()


def test_the_pages_application_logs_in_with_what_was_rotated(account: Account) -> None:
    (code,) = blocks(HOW_TO, "python")
    done = subprocess.run(
        [sys.executable, "-c", code], env=account.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == "shop, 2 keys\n", done.stderr
