"""An HTTP endpoint on loopback that answers as a test tells it, and counts what it was asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from tegata_credentials.sources.aws_secrets_manager import AwsSecretsManager

SESSION_TOKEN = "session-token-of-the-role-0123456789"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:{}-AbCdEf"


class Silent(Exception):
    """No answer at all."""


@dataclass
class Refused(Exception):
    """An answer with an error."""

    code: str
    message: str = ""
    status: int = 400


@dataclass(eq=False, repr=False)
class Endpoint:
    """`secrets` are what is kept; `faults` are used up call by call, `constant` stays; `calls` is what was asked."""

    secrets: dict[str, dict[str, Any]] = field(default_factory=dict)
    faults: list[Exception | None] = field(default_factory=list)
    constant: Exception | None = None
    constant_of: dict[str, Exception] = field(default_factory=dict)
    errors_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    passing_errors_of: dict[str, tuple[str, str]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""
    connections: set[socket.socket] = field(default_factory=set)
    counting: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def put(self, name: str, text: str | None, version: str = "v-1", **more: Any) -> None:
        kept = {"ARN": ARN.format(name), "Name": name, "VersionId": version, "VersionStages": ["AWSCURRENT"], **more}
        self.secrets[name] = kept if text is None else {**kept, "SecretString": text}

    def hang_up(self) -> None:
        """End every connection, as a store does with one that has been idle while a function was frozen."""
        with self.counting:
            for connection in self.connections:
                connection.shutdown(socket.SHUT_RDWR)

    def asked(self, action: str) -> list[dict[str, Any]]:
        return [body for name, body in self.calls if name == action]

    def source(self, **more: Any) -> AwsSecretsManager:
        return AwsSecretsManager(endpoint_url=self.url, session=session(), **more)

    def answer(self, action: str, body: dict[str, Any]) -> dict[str, Any]:
        self.calls.append((action, body))
        fault = self.faults.pop(0) if self.faults else self.constant or self.constant_of.get(action)
        if fault is not None:
            raise fault
        if action == "BatchGetSecretValue":
            found = [self._find(name) for name in body["SecretIdList"]]
            values = [kept for kept in found if not isinstance(kept, Refused)]
            errors = [
                {"SecretId": name, "ErrorCode": kept.code, "Message": kept.message}
                for name, kept in zip(body["SecretIdList"], found, strict=True)
                if isinstance(kept, Refused)
            ]
            return {"SecretValues": values, "Errors": errors}
        kept = self._find(body["SecretId"])
        if isinstance(kept, Refused):
            raise kept
        if body.get("VersionStage", "AWSCURRENT") not in kept["VersionStages"]:
            raise Refused(
                "ResourceNotFoundException",
                "Secrets Manager can't find the specified secret value for staging label: X",
            )
        return kept

    def _find(self, name: str) -> dict[str, Any] | Refused:
        if name in self.passing_errors_of:
            return Refused(*self.passing_errors_of.pop(name))
        if name in self.errors_of:
            return Refused(*self.errors_of[name])
        for kept in self.secrets.values():
            if name in (kept["Name"], kept["ARN"], kept["ARN"][:-7]):
                return kept
        return Refused("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")


@cache
def session() -> boto3.Session:
    """One for all: it is boto3's reading of its own files that takes time."""
    return boto3.Session("AKIAEXAMPLE", "not-a-real-key", SESSION_TOKEN, region_name="eu-west-1")


@contextmanager
def serving() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with endpoint.counting:
                endpoint.connections.add(self.connection)
            try:
                super().handle()
            finally:
                with endpoint.counting:
                    endpoint.connections.discard(self.connection)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = 200
            try:
                answer = endpoint.answer(self.headers["X-Amz-Target"].rpartition(".")[2], body)
            except Refused as error:
                answer, status = {"__type": error.code, "message": error.message}, error.status
            except Silent:
                endpoint.closing.wait(60)
                self.close_connection = True
                return
            sent = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield endpoint
    finally:
        endpoint.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as opened:
        yield opened


@pytest.fixture(scope="session")
def open_endpoint() -> Callable[[], Any]:
    return serving


@pytest.fixture(scope="session")
def refused() -> type[Refused]:
    return Refused


@pytest.fixture(scope="session")
def silent() -> type[Silent]:
    return Silent


@pytest.fixture(autouse=True)
def clean(clean_environment: pytest.MonkeyPatch) -> None:
    """No credentials and no region of the machine."""


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool]], None]:
    """Wait for something that happens in another process, not for ever."""

    def wait(is_so: Callable[[], bool]) -> None:
        end = time.monotonic() + 60
        while not is_so():
            assert time.monotonic() < end, "it has not happened"
            time.sleep(0.02)

    return wait
