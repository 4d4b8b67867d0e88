"""Stands between an SDK and the corrected moto, counts what passes and does to it what the fault plan says."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tegata_credentials.testing.outputs import remember_generated

from .calls import Call, CallLog, is_same_secret
from .faults import (
    LONGEST_SILENCE,
    Cut,
    Delay,
    Duplicated,
    Fault,
    FaultPlan,
    Meanwhile,
    PartlyRefused,
    Refusal,
    Silence,
)

_JSON = "application/x-amz-json-1.1"
_NOT_PASSED_ON = ("connection", "transfer-encoding", "content-length", "keep-alive", "server", "date")
_ROTATION_HEADER = "x-tegata-rotation"


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """A RotateSecret that was granted. `how` is `started`, `resumed`, `testing` or `done`.

    >>> RotationRequest("arn:aws:secretsmanager:eu-west-1:123456789012:secret:a-AbC123", "6f1c", "started").how
    'started'
    """

    arn: str
    token: str
    how: str


class FaultProxy:
    """An HTTP server on a free port of 127.0.0.1, with one thread for each connection."""

    def __init__(self, upstream_port: int, *, on_rotation: Callable[[RotationRequest], None]) -> None:
        self.faults = FaultPlan()
        self.calls = CallLog()
        self.upstream_port = upstream_port
        self.on_rotation = on_rotation
        self.is_over = threading.Event()
        """Set when those who wait shall stop. A reset makes another one: no late call reaches the next test."""
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return self._server.server_port

    def interrupt(self) -> None:
        """End every silence and every delay without an answer, and do nothing more of what was asked before."""
        over, self.is_over = self.is_over, threading.Event()
        over.set()

    def close(self) -> None:
        """Stop listening, cut every connection and end every silence."""
        self.is_over.set()
        self._server.shutdown()
        self._server.cut_connections()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self._connections: dict[socket.socket, threading.Thread] = {}
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._connections[request] = threading.current_thread()
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is what this is here for."""

    def cut_connections(self) -> None:
        for connection, thread in list(self._connections.items()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join(5)


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _handle(self) -> None:
        proxy = self.server.proxy
        is_over = proxy.is_over  # before the call is noted: who has seen it and resets is not reached by it any more
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        call = _read_call(self.headers, body)
        fault = proxy.faults.take(call)
        proxy.calls.append(Call(call.operation, call.secrets, call.principal, fault.name if fault else ""))
        answer = self._answer_to(call, fault, body, is_over)
        if answer is None or is_over.is_set():
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._send(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing, not even about what is no HTTP."""

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = _handle

    def _answer_to(self, call: Call, fault: Fault | None, body: bytes, is_over: threading.Event) -> _Answer | None:
        """Return the answer, or None to cut the connection."""
        match fault:
            case Refusal():
                return _refusal(fault)
            case PartlyRefused():
                return self._partly(fault, body)
            case Cut() | Silence():
                if fault.is_applied:
                    self._forward(body)
                if isinstance(fault, Silence):
                    is_over.wait(min(fault.seconds, LONGEST_SILENCE))
                return None
            case Delay():
                if is_over.wait(min(fault.seconds, LONGEST_SILENCE)):
                    return None
            case Duplicated():
                self._forward(body)
            case Meanwhile() if not fault.is_after:
                fault.act(call)
        answer = self._forward(body)
        if isinstance(fault, Meanwhile) and fault.is_after:
            fault.act(call)
        return answer

    def _partly(self, fault: PartlyRefused, body: bytes) -> _Answer | None:
        request = json.loads(body)
        refused: dict[str, Refusal] = {}
        for name in request.get("SecretIdList", []):
            for entry, refusal in fault.entries.items():
                if is_same_secret(name, entry):
                    refused[name] = refusal
        left = [name for name in request.get("SecretIdList", []) if name not in refused]
        errors = [
            {"SecretId": name, "ErrorCode": refusal.code, "Message": refusal.message}
            for name, refusal in refused.items()
        ]
        document: dict[str, Any] = {"SecretValues": [], "Errors": []}
        if left:
            answer = self._forward(json.dumps(request | {"SecretIdList": left}).encode())
            if answer is None or answer.status != 200:
                return answer
            document = json.loads(answer.body)
        document["Errors"] = [*document.get("Errors", []), *errors]
        return _Answer(200, {"content-type": _JSON}, json.dumps(document).encode())

    def _forward(self, body: bytes) -> _Answer | None:
        proxy = self.server.proxy
        connection = HTTPConnection("127.0.0.1", proxy.upstream_port, timeout=120)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()
        if how := response.getheader(_ROTATION_HEADER):
            document = json.loads(content)
            proxy.on_rotation(RotationRequest(document["ARN"], document["VersionId"], how))
        kept = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in (*_NOT_PASSED_ON, _ROTATION_HEADER)
        }
        return _Answer(response.status, kept, content)

    def _send(self, answer: _Answer) -> None:
        lines = [f"HTTP/1.1 {answer.status} -", f"content-length: {len(answer.body)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        content = b"" if self.command == "HEAD" else answer.body
        self.wfile.write("\r\n".join([*lines, "", ""]).encode("latin-1") + content)


def _refusal(fault: Refusal) -> _Answer:
    body = json.dumps({"__type": fault.code, "message": fault.message}).encode()
    return _Answer(fault.status, {"content-type": _JSON, "x-amzn-errortype": fault.code}, body)


def _read_call(headers: Any, body: bytes) -> Call:
    """Read who asks for what. Of a value that is to be kept it is only noted that nobody may put it out."""
    operation = headers.get("x-amz-target", "").rpartition(".")[2]
    signed = re.search(r"Credential=([^/]+)/", headers.get("authorization") or "")
    secrets: tuple[str, ...] = ()
    with suppress(ValueError, AttributeError):
        document = json.loads(body)
        named = [document.get("SecretId") or document.get("Name")] if operation else []
        secrets = tuple(name for name in [*named, *document.get("SecretIdList", [])] if isinstance(name, str))
        remember_generated(document.get("SecretString", ""))
    return Call(operation, secrets, signed[1] if signed else "")
