"""RDS tokens, judged by an independent Signature Version 4: writer and reader, end of life, wrong addresses."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import boto3
import pytest
from sqlalchemy import text
from sqlalchemy.pool import NullPool

from tegata_credentials import asyncpg as our_asyncpg
from tegata_credentials import psycopg as our_psycopg
from tegata_credentials import sqlalchemy as our_sqlalchemy
from tegata_credentials.aws import RdsIamTokens, SyncRdsIamTokens
from tegata_credentials.errors import IdentityUnavailable
from tegata_credentials.testing import REGION, AccessKey, Endpoint, Laboratory
from tegata_credentials.tokens import SyncTokenSource, TokenSource

pytestmark = pytest.mark.anyio

ROLE = "rds_app"
NAMES = {
    "writer": f"shop.cluster-c1.{REGION}.rds.amazonaws.com",
    "reader": f"shop.cluster-ro-c1.{REGION}.rds.amazonaws.com",
}


@dataclass(frozen=True)
class RdsServer:
    """A server that stands in for one of RDS: reached on loopback, but tokens are signed for its name."""

    url: str
    name: str
    port: int

    def signer(self, **options: Any) -> dict[str, Any]:
        return {"host": "127.0.0.1", "sign_for_host": self.name, "port": self.port, "user": ROLE, **options}

    def tokens(self, **options: Any) -> TokenSource:
        return TokenSource(RdsIamTokens(**self.signer(**options)), auth_method="aws_iam")

    def sync_tokens(self, **options: Any) -> SyncTokenSource:
        return SyncTokenSource(SyncRdsIamTokens(**self.signer(**options)), auth_method="aws_iam")


@pytest.fixture
def rds(
    database: Any, servers: Callable[..., Any], lab: Laboratory, clean_environment: pytest.MonkeyPatch
) -> Iterator[dict[str, RdsServer]]:
    """Writer and reader, and the environment of a container with a role."""
    for variable, value in lab.aws().items():
        clean_environment.setenv(variable, value)
    found = {}
    for server, name in NAMES.items():
        started = servers(server)
        started.create_role(ROLE)
        port = started.endpoint.port
        lab.serve_database(server, Endpoint(name, port, REGION))
        found[server] = RdsServer(started.verified_url(ROLE), name, port)
    yield found
    for server in NAMES:
        lab.serve_database(server, servers(server).endpoint)


async def log_in(server: RdsServer, tokens: TokenSource) -> None:
    connection = await our_asyncpg.connect(server.url, password=tokens)
    assert await connection.fetchval("select current_user") == ROLE
    await connection.close()


def story(lab: Laboratory) -> list[tuple[str, str]]:
    return [(bind.server, bind.reason or "let in") for bind in lab.binds]


async def test_writer_and_reader_each_get_a_token_of_their_own(
    lab: Laboratory, rds: dict[str, RdsServer], count: Any
) -> None:
    for server in rds.values():
        tokens = server.tokens()
        for _ in range(5):
            await log_in(server, tokens)
        await tokens.close()
    assert story(lab) == [("writer", "let in")] * 5 + [("reader", "let in")] * 5
    assert len({bind.credential for bind in lab.binds}) == 2
    assert lab.calls == []
    count("RDS tokens, writer and reader", logins=10, errors=0, tokens=2, network_calls=0)


async def test_every_adapter_logs_in_with_a_signed_token(lab: Laboratory, rds: dict[str, RdsServer]) -> None:
    writer = rds["writer"]
    tokens, sync_tokens = writer.tokens(), writer.sync_tokens()
    for driver in ("asyncpg", "psycopg"):
        engine = our_sqlalchemy.create_async_engine(
            writer.url.replace("postgresql://", f"postgresql+{driver}://"), password=tokens, poolclass=NullPool
        )
        async with engine.connect() as connection:
            assert (await connection.execute(text("select current_user"))).scalar_one() == ROLE
        await engine.dispose()
    async with our_asyncpg.create_pool(writer.url, password=tokens, min_size=1, max_size=1) as pool:
        assert await pool.fetchval("select current_user") == ROLE
    (await asyncio.to_thread(our_psycopg.connect, writer.url, password=sync_tokens)).close()
    assert [bind.reason for bind in lab.binds] == [None] * 4
    await tokens.close()
    sync_tokens.close()


async def test_a_token_for_the_reader_is_refused_by_the_writer(
    lab: Laboratory, rds: dict[str, RdsServer], overheard: Any, count: Any
) -> None:
    tokens = rds["reader"].tokens()
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError) as caught:
        await log_in(rds["writer"], tokens)
    overheard.caught(caught.value)
    assert {bind.reason for bind in lab.binds} == {"wrong_host"}
    await tokens.close()
    count("RDS token for another host", logins=0, refused=len(lab.refusals()))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        pytest.param({"port": 1}, "wrong_port", id="another port"),
        pytest.param({"user": "somebody"}, "wrong_user", id="another role"),
        pytest.param({"region": "us-east-1"}, "wrong_region", id="another region"),
    ],
)
async def test_a_token_signed_for_something_else_is_refused(
    options: dict[str, Any], reason: str, lab: Laboratory, rds: dict[str, RdsServer], overheard: Any
) -> None:
    tokens = rds["writer"].tokens(**options)
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError) as caught:
        await log_in(rds["writer"], tokens)
    overheard.caught(caught.value)
    assert {bind.reason for bind in lab.binds} == {reason}
    await tokens.close()


async def test_a_token_that_ends_early_is_signed_anew_after_one_rejection(
    lab: Laboratory, rds: dict[str, RdsServer], count: Any
) -> None:
    """Fifteen minutes shortened to a moment, which the client does not know."""
    writer = rds["writer"]
    tokens = writer.tokens()
    for _ in range(3):
        await log_in(writer, tokens)
        await log_in(writer, tokens)
        lab.rds.end_all()
        await asyncio.sleep(1.1)  # a token is signed for whole seconds
    assert len({bind.credential for bind in lab.logins()}) == 3
    assert [reason for _, reason in story(lab)] == [*["let in"] * 2, *["expired", "let in", "let in"] * 2]
    await tokens.close()
    count(
        "RDS tokens that end early",
        logins=len(lab.logins()),
        errors=0,
        rejected_logins=len(lab.refusals()),
        tokens=3,
    )


async def test_a_withdrawn_key_of_aws_is_refused_and_its_successor_found(
    lab: Laboratory, rds: dict[str, RdsServer], clean_environment: pytest.MonkeyPatch, count: Any
) -> None:
    writer = rds["writer"]
    tokens = writer.tokens()
    await log_in(writer, tokens)
    successor = AccessKey("AKIASUCCESSOR0000000", "the-secret-of-the-successor", "its/session+token=")
    lab.rds.distrust(lab.aws_key)
    lab.rds.trust(successor)
    clean_environment.setenv("AWS_ACCESS_KEY_ID", successor.key_id)
    clean_environment.setenv("AWS_SECRET_ACCESS_KEY", successor.secret)
    clean_environment.setenv("AWS_SESSION_TOKEN", str(successor.session_token))
    await log_in(writer, tokens)
    assert story(lab) == [("writer", "let in"), ("writer", "unknown_key"), ("writer", "let in")]
    await tokens.close()
    count("AWS key rotated under a running client", logins=2, errors=0, rejected_logins=1)


async def test_without_credentials_of_aws_the_error_is_clear(
    lab: Laboratory, rds: dict[str, RdsServer], clean_environment: pytest.MonkeyPatch, overheard: Any, tmp_path: Any
) -> None:
    for variable in lab.aws():
        clean_environment.delenv(variable)
    clean_environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    clean_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    tokens = rds["writer"].tokens()
    with pytest.raises(IdentityUnavailable) as caught:
        await log_in(rds["writer"], tokens)
    assert overheard.caught(caught.value).reason == "not_configured"
    assert lab.binds == []
    await tokens.close()


async def test_botocore_logs_a_signature_when_it_is_used_without_the_kit(
    rds: dict[str, RdsServer], lab: Laboratory, new_overheard: Any
) -> None:
    """Were this to change, what keeps it quiet could go."""
    session = boto3.Session("AKIAELSEWHERE0000000", lab.aws_key.secret, region_name=REGION)
    logged: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: logged.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("botocore.auth")
    logger.addHandler(listener)
    logger.propagate = False
    try:
        token = session.client("rds").generate_db_auth_token("elsewhere", 5432, ROLE, REGION)
    finally:
        logger.removeHandler(listener)
        logger.propagate = True
    assert token.rpartition("X-Amz-Signature=")[2] in "".join(logged)


async def test_fifty_cold_connections_sign_one_token(lab: Laboratory, rds: dict[str, RdsServer], count: Any) -> None:
    writer = rds["writer"]
    tokens = writer.tokens()
    await asyncio.gather(*(log_in(writer, tokens) for _ in range(50)))
    assert len({bind.credential for bind in lab.logins()}) == 1
    assert len(lab.logins()) == 50
    await tokens.close()
    count("50 cold connections, RDS", logins=50, errors=0, tokens=1)


async def test_the_token_in_the_url_fails_after_fifteen_minutes(
    lab: Laboratory, rds: dict[str, RdsServer], database: Any, caplog: pytest.LogCaptureFixture, count: Any
) -> None:
    """The same design as with Azure: a token signed once and used as the password of every connection."""
    caplog.set_level(logging.INFO, "botocore")  # at DEBUG it writes its signatures into the log
    writer = rds["writer"]
    session = boto3.Session(lab.aws_key.key_id, lab.aws_key.secret, region_name=REGION)
    token = await asyncio.to_thread(
        lambda: session.client("rds").generate_db_auth_token(writer.name, writer.port, ROLE, REGION)
    )
    connection = await asyncpg.connect(database.url(ROLE), password=token)
    await connection.close()
    lab.clock.offset_seconds = 901
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await asyncpg.connect(database.url(ROLE), password=token)
    assert story(lab) == [("writer", "let in"), ("writer", "expired")]
    count("the RDS token in the URL, 15 minutes later", connections_opened=0, connections_failed=1)
