"""The how-to page from an empty account to rotating credentials, command by command; then the runbook's."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable

from .conftest import Account, blocks

HOW_TO, RUNBOOK = "rotate-secrets-on-aws.md", "secrets-runbook.md"


def until(holds: Callable[[], bool], what: str) -> None:
    for _ in range(2400):
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
        [sys.executable, "-c", code], env=account.environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout == "shop, 2 keys\n", done.stderr


def test_every_command_of_the_runbook_works_in_that_account(account: Account) -> None:
    before = account.value("shop-prod-secret-database")
    jwt = account.value("shop-prod-secret-jwt")
    # One after the other, as they stand; a rotation that was begun ends before the next chapter.
    (how_it_stands, complete, *rest) = blocks(RUNBOOK, "sh")
    account.run(f"{how_it_stands}\n{complete}")
    until(lambda: account.value("shop-prod-secret-database") != before, "the rotation was not completed")
    said = account.run("\n".join(rest))
    assert account.failures == []
    current = account.value("shop-prod-secret-database")
    assert account.logs_in(current), "after two rotations and a way back"
    assert not account.logs_in(before), "the leaked password"
    assert account.logs_in(account.value("shop-prod-secret-rotator"))
    assert account.value("shop-prod-secret-jwt") == jwt
    assert '"region": "eu-central-1"' in said
    there = account.stand_in.client(region_name="eu-central-1")
    assert json.loads(there.get_secret_value(SecretId="shop-prod-secret-database")["SecretString"]) == current
    there.close()


def test_a_way_back_that_is_closed_is_told_in_one_line(account: Account) -> None:
    name = "shop-prod-secret-database"
    before, closed = account.value(name), account.value(name, "AWSPREVIOUS")["username"]
    # The next rotation gives it a password again.
    account.run(f'psql "$ADMINISTRATOR_URL" --quiet --command "alter role {closed} password null"')
    (way_back,) = (block for block in blocks(RUNBOOK, "sh") if ".rollback(" in block)
    said = account.run(f"(\n{way_back}\n) 2>&1 && exit 1 || true")
    assert said == f"not rolled back: TestFailed: the writer refuses the password of {closed}\n"
    assert account.value(name) == before


def test_an_unfinished_rotation_is_completed_with_its_own_token(account: Account) -> None:
    name = "shop-prod-secret-database"
    account.plans_are_lost = True
    token = "5b0e8f0e-9c0c-4f6f-8a53-0d6a8e0d7c11"
    account.run(f"aws secretsmanager rotate-secret --secret-id {name} --client-request-token {token}")
    until(lambda: bool(account.failures), "the function did not fail")
    account.failures.clear()
    account.plans_are_lost = False
    (_, complete, *_) = blocks(RUNBOOK, "sh")
    account.run(complete)
    until(lambda: account.current(name) == token, "the unfinished rotation was not completed")
    assert account.failures == []
