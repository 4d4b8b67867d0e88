"""The doctor on the whole way to a real login, in the laboratory's cloud; it finds one fault at a time, by name."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from tegata_credentials.doctor import REASONS, Report, examine
from tegata_credentials.doctor.identity import take_token
from tegata_credentials.settings import DatabaseSettings
from tegata_credentials.testing import Answer, Laboratory

pytestmark = pytest.mark.anyio

Examine = Callable[..., Awaitable[Report]]
NOWHERE = "http://127.0.0.1:1/"


@pytest.fixture
def on_azure(clean_environment: pytest.MonkeyPatch, lab: Laboratory, database: Any) -> Examine:
    """Examine the login of `app` from a container in App Service, with these changes."""

    async def run(change: dict[str, str | None] | None = None, **options: Any) -> Report:
        environ: dict[str, str | None] = {
            **lab.app_service(),
            "USE_MANAGED_IDENTITY": "true",
            "DATABASE_URL": f"{database.url('app')}?sslrootcert={database.root}",
            **(change or {}),
        }
        for name, value in environ.items():
            if value is not None:
                clean_environment.setenv(name, value)
        given = {name: value for name, value in environ.items() if value is not None}
        report = await examine(given, **{"clock_url": NOWHERE, **options})
        shown = report.text() + report.json() + repr(report)
        assert lab.leaks_in(shown) == []
        assert set(report.reasons) <= set(REASONS)
        return report

    return run


async def test_a_login_that_works_is_found_healthy_with_every_question_asked(on_azure, lab):
    report = await on_azure()
    assert report.reasons == ()
    assert report.is_healthy
    asked = [(check.id, check.result) for check in report.checks]
    order = ["settings", "name", "port", "tls", "identity", "audience", "life", "login", "clock", "encryption", "role"]
    assert asked == [(name, "ok") for name in order]
    assert report.claims["oid"] == "11111111-1111-4111-8111-111111111111"
    assert json.loads(report.json())["healthy"] is True
    assert report.text().endswith("nothing found")
    assert len(lab.calls) == len(lab.logins("app")) == 1


async def test_a_role_that_is_not_mapped_is_named_with_the_sql_for_this_identity(on_azure, database):
    database.create_role("unmapped")
    report = await on_azure({"DATABASE_URL": database.url("unmapped")})
    assert report.reasons == ("role_not_mapped",)
    (found,) = (check for check in report.checks if check.result == "failed")
    oid = report.claims["oid"]
    assert f"pgaadauth_create_principal_with_oid('unmapped', '{oid}', 'service', false, false);" in (found.sql or "")
    assert f'SECURITY LABEL FOR "pgaadauth" ON ROLE "unmapped" IS \'aadauth,oid={oid},type=service\';' in report.text()


async def test_another_identity_than_the_mapped_one_is_shown_by_its_object_id(on_azure, lab):
    lab.identity.identities = {None: "33333333-3333-4333-8333-333333333333"}
    report = await on_azure()
    assert report.reasons == ("role_not_mapped",)
    assert "33333333-3333-4333-8333-333333333333" in report.text()


async def test_a_password_still_in_the_url_is_found_and_the_rest_is_examined_without_it(on_azure, database, lab):
    url = database.url("app").replace("app@", "app:old-secret-pa55@")
    report = await on_azure({"DATABASE_URL": f"{url}?sslrootcert={database.root}"})
    assert report.reasons == ("password_in_url",)
    assert "old-secret" not in report.text() + report.json()
    assert len(lab.logins("app")) == 1


async def test_settings_that_contradict_each_other_end_the_examination(on_azure):
    report = await on_azure({"DATABASE_AUTH": "password", "DB_POOL_SIZE": "many"})
    assert report.reasons == ("settings_unusable",) * 3


async def test_an_identity_endpoint_that_is_not_there_is_told_from_one_that_is_silent(on_azure, lab):
    lab.go_down()
    try:
        report = await on_azure()
        assert report.reasons == ("identity_endpoint_silent",)
        assert "IDENTITY_ENDPOINT" in report.text()
        assert ("login", "skipped") in [(check.id, check.result) for check in report.checks]
    finally:
        lab.come_back()


@pytest.mark.parametrize("absent", ["IDENTITY_HEADER", "IDENTITY_ENDPOINT"])
async def test_half_an_identity_environment_is_found(on_azure, absent, clean_environment):
    # Without its other half the SDK would turn to the metadata service of a real cloud.
    clean_environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", NOWHERE)
    report = await on_azure({absent: None})
    assert report.reasons == ("identity_endpoint_incomplete",)
    assert f"{absent} is not" in report.text()


async def test_a_workload_without_its_assertion_is_found(on_azure, lab):
    change: dict[str, str | None] = {**lab.workload("client"), "AZURE_FEDERATED_TOKEN_FILE": "/nowhere/assertion"}
    report = await on_azure({**change, "IDENTITY_ENDPOINT": None, "IDENTITY_HEADER": None})
    assert report.reasons == ("assertion_missing",)


async def test_an_endpoint_that_refuses_is_told_from_one_that_is_missing(on_azure, lab):
    lab.identity.behaviour.answer = Answer(400, {"error": "invalid_request"})
    report = await on_azure()
    assert report.reasons == ("identity_unavailable",)


async def test_a_token_for_another_service_is_not_shown_to_the_database(on_azure, lab):
    lab.identity.behaviour.answer = foreign(lab, {"aud": "https://management.azure.com/"})
    report = await on_azure()
    assert report.reasons == ("token_wrong_audience",)
    assert "https://management.azure.com/" in report.text()
    assert lab.binds == []


async def test_something_that_is_no_token_is_not_shown_to_the_database(on_azure, lab):
    lab.identity.behaviour.answer = Answer(200, {"access_token": "not.a-token", "expires_on": "4000000000"})
    report = await on_azure()
    assert report.reasons == ("token_unreadable",)
    assert lab.binds == []


async def test_a_clock_that_differs_from_the_servers_is_found(on_azure):
    import time

    report = await on_azure(clock=lambda: time.time() + 120)
    assert report.reasons == ("clock_skewed",)
    assert "fast" in report.text()
    report = await on_azure(clock=lambda: time.time() - 120)
    assert set(report.reasons) == {"clock_skewed"} or "token_too_early" in report.reasons


async def test_an_expired_token_is_found_before_the_database_is_asked(on_azure, lab):
    import time

    report = await on_azure(clock=lambda: time.time() + 7200)
    assert report.reasons == ("token_expired",)
    assert lab.binds == []


async def test_a_certificate_for_another_name_or_of_another_authority_is_found(on_azure, database, lab):
    url = database.url("app").replace("127.0.0.1", "localhost")
    assert (await on_azure({"DATABASE_URL": f"{url}?sslrootcert={database.root}"})).reasons == ("tls_wrong_name",)
    report = await on_azure({"DATABASE_URL": f"{database.url('app')}?sslmode=verify-full"})
    assert report.reasons == ("tls_untrusted",)
    report = await on_azure({"DATABASE_URL": f"{database.url('app')}?sslrootcert=/nowhere/root.pem"})
    assert report.reasons == ("tls_files_unreadable", "tls_untrusted")
    assert lab.binds == []


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca"])
async def test_a_setting_that_would_weaken_tls_is_found(on_azure, mode):
    report = await on_azure({"DATABASE_URL": f"postgresql://app@db.invalid/app?sslmode={mode}"})
    assert report.reasons == ("tls_setting_weak", "host_unknown")


async def test_the_name_that_sqlalchemy_gives_it_is_found_too(on_azure):
    report = await on_azure({"DATABASE_URL": "postgresql+asyncpg://app@db.invalid/app?ssl=require"})
    assert report.reasons == ("tls_setting_weak", "host_unknown")


async def test_within_one_machine_a_weak_setting_is_no_fault(on_azure, database):
    assert (await on_azure({"DATABASE_URL": f"{database.url('app')}?sslmode=require"})).reasons == ()


async def test_a_variable_that_cannot_weaken_tls_is_no_fault(on_azure):
    report = await on_azure({"DATABASE_URL": "postgresql://app@db.invalid/app", "PGSSLMODE": "disable"})
    assert report.reasons == ("host_unknown",)


async def test_a_missing_database_and_a_forbidden_one_are_told_apart(on_azure, database):
    options = f"?sslrootcert={database.root}"
    report = await on_azure({"DATABASE_URL": database.url("app").replace("/postgres", "/nowhere") + options})
    assert report.reasons == ("database_missing",)
    with psycopg.connect(database.socket.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("create database forbidden")
        connection.execute("revoke connect on database forbidden from public")
    report = await on_azure({"DATABASE_URL": database.url("app").replace("/postgres", "/forbidden") + options})
    assert report.reasons == ("database_forbidden",)


async def test_a_role_without_login_and_one_with_too_much_power_are_found(on_azure, database, lab):
    with psycopg.connect(database.socket.psycopg_conninfo(), autocommit=True) as connection:
        connection.execute("create role sleeping")
        connection.execute("create role mighty login bypassrls")
    for role, reason in (("sleeping", "role_cannot_log_in"), ("mighty", "role_too_powerful")):
        lab.map_role(role)
        report = await on_azure({"DATABASE_URL": f"{database.url(role)}?sslrootcert={database.root}"})
        assert report.reasons == (reason,)


async def test_on_aws_a_signed_token_is_read_and_works(on_azure, database, lab):
    database.create_role("rds_app")
    change = {
        **lab.aws(),
        "DATABASE_URL": f"{database.url('rds_app')}?sslrootcert={database.root}",
        "DATABASE_AUTH": "aws_iam",
        "USE_MANAGED_IDENTITY": None,
        "RDS_ENDPOINT": database.endpoint.host,
    }
    report = await on_azure(change)
    assert report.reasons == ()
    assert (report.claims["user"], report.claims["region"]) == ("rds_app", "ap-northeast-1")


async def test_on_aws_a_role_that_the_server_asks_for_a_password_lacks_rds_iam(on_azure, database, lab):
    lab.rds.distrust(lab.aws_key)
    change = {
        **lab.aws(),
        "DATABASE_URL": database.url("rds_app"),
        "DATABASE_AUTH": "aws_iam",
        "USE_MANAGED_IDENTITY": None,
        "RDS_ENDPOINT": database.endpoint.host,
    }
    report = await on_azure(change)
    assert report.reasons == ("role_lacks_rds_iam",)
    assert 'GRANT rds_iam TO "rds_app";' in report.text()


async def test_on_aws_missing_credentials_and_an_own_name_of_the_host_are_found(on_azure, database):
    change = {"DATABASE_URL": database.url("app"), "DATABASE_AUTH": "aws_iam", "USE_MANAGED_IDENTITY": None}
    assert (await on_azure(change)).reasons == ("settings_unusable",)
    more = {"RDS_ENDPOINT": database.endpoint.host, "AWS_REGION": "ap-northeast-1"}
    assert (await on_azure({**change, **more})).reasons == ("aws_credentials_missing",)


async def test_with_a_password_the_login_itself_is_examined(on_azure, database):
    change = {"DATABASE_URL": database.url("app").replace("app@", "app:wrong@"), "USE_MANAGED_IDENTITY": "false"}
    assert (await on_azure(change)).reasons == ("password_refused",)


async def test_over_a_socket_there_is_no_network_to_examine(on_azure, database):
    socket = database.socket
    url = f"postgresql://{socket.user}@/postgres?host={socket.host}&port={socket.port}"
    report = await on_azure({"DATABASE_URL": url, "USE_MANAGED_IDENTITY": None})
    assert report.reasons == ()
    assert {check.id for check in report.checks if check.result == "skipped"} == {"name", "encryption", "role"}


def foreign(lab: Laboratory, claims: dict[str, Any]) -> Answer:
    """A token with other claims; nobody has to accept its signature."""
    import base64

    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()

    token = f"{part({'alg': 'RS256'})}.{part({'exp': 4_000_000_000, **claims})}.c2lnbmF0dXJl"
    return Answer(200, {"access_token": token, "expires_on": "4000000000", "token_type": "Bearer", "resource": "x"})


async def test_where_there_is_no_identity_endpoint_at_all_that_is_said(clean_environment):
    # The SDK is kept on loopback by a variable that the doctor is not told of; a cloud's own address stays unasked.
    clean_environment.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", NOWHERE)
    settings = DatabaseSettings("db.invalid", 5432, "app", "app", "managed_identity")
    check, token = await take_token(settings, {}, metadata_service=NOWHERE)
    assert (check.reason, token) == ("identity_endpoint_missing", None)
