"""The way to a server: each thing that can stand in it has its own name."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tegata_credentials.doctor import examine
from tegata_credentials.doctor.network import check_name, check_way, read_date
from tegata_credentials.settings import DatabaseSettings
from tegata_credentials.testing import Laboratory, free_port

pytestmark = pytest.mark.anyio

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def at(port: int, host: str = "127.0.0.1") -> DatabaseSettings:
    return DatabaseSettings(host, port, "app", "app", "managed_identity")


@asynccontextmanager
async def listening(talk: Talk) -> AsyncIterator[int]:
    """A server on loopback that talks so to whoever comes; gives its port."""
    done: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        done.add(task)
        try:
            await talk(reader, writer)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
    for task in done:
        task.cancel()
    await asyncio.gather(*done, return_exceptions=True)


def saying(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(answer)
        await writer.drain()

    return talk


def with_certificate(context: ssl.SSLContext) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S")
        await writer.drain()
        await writer.start_tls(context)
        await reader.read()

    return talk


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"N", "tls_off"), (b"H", "no_postgresql"), (b"", "no_postgresql"), (b"SHTTP/1.1 400", "tls_broken")],
    ids=["no TLS", "another protocol", "nothing", "no TLS after S"],
)
async def test_what_answers_is_named(answer, reason):
    async with listening(saying(answer)) as port:
        way = await check_way(at(port), ssl.create_default_context())
    assert [check.reason for check in way.checks if check.result == "failed"] == [reason]


async def test_where_nothing_is_checked_a_server_without_tls_is_no_fault():
    async with listening(saying(b"N")) as port:
        way = await check_way(at(port), None)
    assert [check.result for check in way.checks] == ["ok", "skipped"]
    assert not way.offers_tls


async def test_a_silent_server_is_given_up():
    async def wait(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with listening(wait) as port:
        way = await check_way(at(port), None, timeout_seconds=0.05)
    assert [check.reason for check in way.checks] == ["port_silent"]


async def test_a_closed_port_is_told_from_a_silent_one():
    assert [check.reason for check in (await check_way(at(free_port()), None)).checks] == ["port_closed"]


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid", "bad..name", "xn--\u0301.invalid"])
async def test_a_name_that_leads_nowhere_is_found(host):
    assert (await check_name(at(5432, host))).reason == "host_unknown"


async def test_an_expired_certificate_is_told_from_an_unknown_authority(tmp_path):
    ended = datetime.now(UTC) - timedelta(days=1)
    served, root = self_signed(tmp_path, ended)
    async with listening(with_certificate(served)) as port:
        trusting = await check_way(at(port), ssl.create_default_context(cafile=root))
        knowing_nobody = await check_way(at(port), ssl.create_default_context())
    assert trusting.checks[-1].reason == "tls_expired"
    assert knowing_nobody.checks[-1].reason in ("tls_untrusted", "tls_expired")


async def test_a_certificate_is_proved_by_name_and_authority(lab: Laboratory):
    served = lab.authority.issue("network-test", "127.0.0.1").context()
    trusting = ssl.create_default_context(cafile=str(lab.authority.root))
    async with listening(with_certificate(served)) as port:
        assert (await check_way(at(port), trusting)).checks[-1].result == "ok"
        assert (await check_way(at(port, "localhost"), trusting)).checks[-1].reason == "tls_wrong_name"
        assert (await check_way(at(port), ssl.create_default_context())).checks[-1].reason == "tls_untrusted"


@pytest.mark.parametrize("ahead", [-300, 0, 300])
async def test_another_machines_clock_is_read_from_its_date(ahead):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        date = format_datetime(datetime.fromtimestamp(time.time() + ahead, UTC), usegmt=True)
        writer.write(f"HTTP/1.1 400 No\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with listening(answer) as port:
        found = await asyncio.to_thread(read_date, f"http://127.0.0.1:{port}/token", clock=time.time)
    assert found is not None
    assert abs(found - ahead) < 30


@pytest.mark.parametrize("head", ["Date: yesterday", "Date: Mon, 99 Foo 2026 00:00:00 GMT", "X: y", "\x00"])
async def test_a_machine_that_does_not_tell_the_time_is_passed_over(head):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 -\r\n{head}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with listening(answer) as port:
        assert await asyncio.to_thread(read_date, f"http://127.0.0.1:{port}/", clock=time.time) is None
    for url in (f"http://127.0.0.1:{port}/", "nonsense", "https://", "http://[", "http://h:99999/"):
        assert await asyncio.to_thread(read_date, url, clock=time.time) is None


def self_signed(directory: Path, ended: datetime) -> tuple[ssl.SSLContext, str]:
    """A certificate for loopback that was valid once, and the file to trust."""
    import ipaddress

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ended - timedelta(days=1))
        .not_valid_after(ended)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = directory / "old.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    file.write_bytes(private + public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    root = directory / "root.pem"
    root.write_bytes(public)
    return context, str(root)


@pytest.mark.parametrize("mode", ["sslmode=require", "sslmode=verify-ca", "ssl=require"])
async def test_a_password_goes_to_no_server_without_the_tls_that_the_settings_ask_for(
    clean_environment: pytest.MonkeyPatch, mode: str
):
    heard: list[bytes] = []

    async def deny(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(8))
        writer.write(b"N")
        await writer.drain()

    async with listening(deny) as port:
        url = f"postgresql://app:geheim@127.0.0.1:{port}/app?{mode}"
        report = await examine({"DATABASE_URL": url}, clock_url="http://127.0.0.1:1/")
    assert report.reasons == ("tls_off",)
    assert heard == [b"\x00\x00\x00\x08\x04\xd2\x16\x2f"]
