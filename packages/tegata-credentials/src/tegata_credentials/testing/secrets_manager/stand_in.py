"""Secrets Manager on this machine: moto in a process of its own, and the fault proxy in front of it."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import uuid
from http.client import HTTPConnection
from types import TracebackType
from typing import Any

from .calls import CallLog
from .faults import FaultPlan
from .proxy import FaultProxy, RotationRequest

REGION = "eu-west-1"
ACCOUNT = "123456789012"
_START_SECONDS = 120


class StandInError(RuntimeError):
    """The stand-in cannot be started, or was asked for something that it has not got.

    >>> StandIn().endpoint_url
    Traceback (most recent call last):
    tegata_credentials.testing.secrets_manager.stand_in.StandInError: the stand-in is not running
    """


class StandIn:
    """Speaks the protocol of AWS Secrets Manager at `endpoint_url`, and fails on demand.

    It starts in about a second, so keep one for many tests and call `reset()` between them. With `managed_policies` its
    IAM knows the policies that AWS has made, and each reset takes a second more.

    >>> from tegata_credentials.testing.secrets_manager import THROTTLED
    >>> with StandIn() as stand_in:
    ...     client = stand_in.client()
    ...     _ = client.create_secret(Name="acme-dev-secret-jwt", SecretString="{}")
    ...     stand_in.calls.clear()
    ...     stand_in.faults.next("GetSecretValue", THROTTLED)
    ...     text = client.get_secret_value(SecretId="acme-dev-secret-jwt")["SecretString"]
    ...     text, stand_in.calls.count("GetSecretValue"), stand_in.calls[0].fault
    ...     client.close()
    ('{}', 2, 'throttled')
    """

    def __init__(self, *, region: str = REGION, managed_policies: bool = False) -> None:
        for module, words in (("moto", "moto[server]"), ("boto3", "tegata-credentials[aws]")):
            if not _is_installed(module):
                raise StandInError(f"`{module}` is not installed: install `{words}`")
        self.region = region
        self._managed_policies = managed_policies
        self._process: subprocess.Popen[str] | None = None
        self._proxy: FaultProxy | None = None
        self._listeners: list[Any] = []
        self._lock = threading.Lock()
        self._session: Any = None
        self.moto_port = 0
        self._port = 0

    # From here to `stop`: life.

    def __enter__(self) -> StandIn:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start moto's process and the proxy; return when both answer."""
        with tempfile.TemporaryFile() as said:
            self._process = subprocess.Popen(  # noqa: S603 - this Python, a module of ours
                [sys.executable, "-m", f"{__package__}.server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                env=_server_environment(managed_policies=self._managed_policies),
            )
            assert self._process.stdout is not None
            ready, _, _ = select.select([self._process.stdout], [], [], _START_SECONDS)
            ports = self._process.stdout.readline().split() if ready else []
            if len(ports) != 2:
                self.stop()
                said.seek(0)
                raise StandInError("moto's server did not start: " + said.read().decode(errors="replace")[-2000:])
        self._port, self.moto_port = (int(port) for port in ports)
        self._proxy = FaultProxy(self._port, on_rotation=self._tell)

    def stop(self) -> None:
        """End both. May be called twice."""
        proxy, self._proxy = self._proxy, None
        if proxy is not None:
            proxy.close()
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()  # at which it ends
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def reset(self) -> None:
        """Forget all secrets, faults and calls, and who is told of rotations."""
        self.faults.clear()
        self._running.interrupt()
        self._listeners.clear()
        self.control("POST", "/moto-api/reset")
        self.calls.clear()

    # What tests ask.

    @property
    def faults(self) -> FaultPlan:
        """Return the plan of what goes wrong."""
        return self._running.faults

    @property
    def calls(self) -> CallLog:
        """Return what has arrived."""
        return self._running.calls

    @property
    def endpoint_url(self) -> str:
        """Return the address for `endpoint_url` or `AWS_ENDPOINT_URL_SECRETS_MANAGER`."""
        return f"http://127.0.0.1:{self._running.port}"

    @property
    def moto_url(self) -> str:
        """Return the address of moto as it is: no faults, no calls, no corrections."""
        return f"http://127.0.0.1:{self.moto_port}"

    def client(self, service: str = "secretsmanager", *, principal: str = "AKIASTANDIN", **options: Any) -> Any:
        """Return a client of boto3 with made-up credentials; `options` are boto3's. May be called from any thread."""
        import boto3

        with self._lock:
            self._session = self._session or boto3.session.Session()
            return self._session.client(
                service,
                **{
                    "endpoint_url": self.endpoint_url,
                    "region_name": self.region,
                    "aws_access_key_id": principal,
                    "aws_secret_access_key": "not-a-key",
                }
                | options,
            )

    def environment(self, *, principal: str = "AKIASTANDIN") -> dict[str, str]:
        """Return the variables that lead boto3, AWS's CLI and every other SDK of another process here."""
        return {
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": principal,
            "AWS_SECRET_ACCESS_KEY": "not-a-key",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    # For `RotationService`.

    def on_rotation(self, listener: Any) -> None:
        """Have `listener` called with each `RotationRequest` that is granted, until `reset()`. Once is enough."""
        if listener not in self._listeners:
            self._listeners.append(listener)

    def set_rotation_lambda(self, secret: str, arn: str) -> str:
        """Configure rotation without beginning one; return the secret's ARN. Past the faults, and no call is noted."""
        answer = self.control("POST", "/", "SetRotationLambda", {"SecretId": secret, "RotationLambdaARN": arn})
        return str(answer["ARN"])

    def control(self, method: str, path: str, operation: str = "", document: Any = None) -> Any:
        """Ask moto's process directly."""
        scope = f"Credential=AKIACONTROL/20260101/{self.region}/secretsmanager/aws4_request"
        headers = {"authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"}
        if operation:
            headers |= {"x-amz-target": f"secretsmanager.{operation}", "content-type": "application/x-amz-json-1.1"}
        connection = HTTPConnection("127.0.0.1", self._port, timeout=120)
        try:
            connection.request(method, path, json.dumps(document or {}), headers if operation else {})
            response = connection.getresponse()
            answer = json.loads(response.read() or b"{}")
        finally:
            connection.close()
        if response.status != 200:
            raise StandInError(f"{operation or path}: {answer.get('message', response.status)}")
        return answer

    @property
    def _running(self) -> FaultProxy:
        if self._proxy is None:
            raise StandInError("the stand-in is not running")
        return self._proxy

    def _tell(self, request: RotationRequest) -> None:
        for listener in list(self._listeners):
            listener(request)


def new_token() -> str:
    """Return a ClientRequestToken, as an SDK makes one."""
    return str(uuid.uuid4())


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _server_environment(*, managed_policies: bool) -> dict[str, str]:
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "PYTHONPATH", "SYSTEMROOT")
    ours = {"MOTO_CALL_RESET_API": "false", "MOTO_IAM_LOAD_MANAGED_POLICIES": str(managed_policies).lower()}
    return {name: os.environ[name] for name in kept if name in os.environ} | ours
