"""An account of AWS on this machine in which policies are enforced, by an evaluator that is not ours: ministack.

It is installed apart, in an environment of its own, and knows neither the condition keys of Secrets Manager nor
resource policies.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .ports import free_port

_START_SECONDS = 120
# It ends with its standard input, also when whoever started it is killed.
_RUN = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
from ministack.app import main
sys.argv = ["ministack"]
main()
"""
_ROOT = {"AccessKeyId": "test", "SecretAccessKey": "test", "SessionToken": None}
_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}


@dataclass(frozen=True, slots=True)
class EnforcedAccount:
    """A running account; its root user has every right. A context manager makes one:

    Example:
        with enforced_account(Path("ministack/bin"), "eu-west-1") as account:
            account.client("secretsmanager").create_secret(Name="acme-dev-secret-jwt", SecretString="{}")
            reader = account.secrets_as("reader", reader_policy(["acme-dev-secret-jwt"], place=place))
    """

    url: str
    region: str

    def client(self, service: str, credentials: Mapping[str, str | None] = _ROOT) -> Any:
        """Return a client of boto3 that tries each call once."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            service,
            endpoint_url=self.url,
            region_name=self.region,
            aws_access_key_id=credentials["AccessKeyId"],
            aws_secret_access_key=credentials["SecretAccessKey"],
            aws_session_token=credentials["SessionToken"],
            config=Config(retries={"total_max_attempts": 1}),
        )

    def secrets_as(self, role: str, *policies: Mapping[str, Any]) -> Any:
        """Return a client of Secrets Manager that has assumed a new role with these policies."""
        iam, sts = self.client("iam"), self.client("sts")
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
        for number, policy in enumerate(policies):
            iam.put_role_policy(RoleName=role, PolicyName=f"p{number}", PolicyDocument=json.dumps(policy))
        credentials = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        for each in (iam, sts):
            each.close()
        return self.client("secretsmanager", credentials)


@contextmanager
def enforced_account(programs: Path, region: str) -> Iterator[EnforcedAccount]:
    """Start one with the Python of ministack's environment; it ends with the block."""
    port, directory = free_port(), tempfile.mkdtemp(prefix="ministack-")
    variables = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(  # noqa: S603 - a program that the caller names, no shell
        [str(programs / "python"), "-c", _RUN],
        env=variables | {"HOME": directory, "TMPDIR": directory},
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield EnforcedAccount(f"http://127.0.0.1:{port}", region)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
        shutil.rmtree(directory, ignore_errors=True)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    latest = time.monotonic() + _START_SECONDS
    while time.monotonic() < latest:
        if process.poll() is not None:
            raise RuntimeError("ministack has ended")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("ministack does not listen")
