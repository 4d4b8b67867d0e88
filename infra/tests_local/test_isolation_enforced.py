"""The servers' own rights, as the templates have them, before an evaluator that is not ours: ministack enforces them.

It knows neither the condition keys of Secrets Manager nor resource policies; `test_isolation.py` judges those.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from deployed import REGION, Deployed

from tegata_credentials.testing import free_port

PROGRAMS = Path(sys.prefix, "ministack", "bin")
PREFIXES = {"dev": "idp-server-dev", "production": "idp-server"}
# It ends with its standard input, also when the tests are killed.
RUN = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(0)), daemon=True).start()
from ministack.app import main
sys.argv = ["ministack"]
main()
"""
TRUST = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}


def client(url: str, service: str, credentials: Mapping[str, str] | None = None) -> Any:
    known = credentials or {"AccessKeyId": "test", "SecretAccessKey": "test", "SessionToken": None}
    return boto3.session.Session().client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=known["AccessKeyId"],
        aws_secret_access_key=known["SecretAccessKey"],
        aws_session_token=known["SessionToken"],
        config=Config(retries={"total_max_attempts": 1}),
    )


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """An account in which policies are enforced."""
    if not (PROGRAMS / "python").exists():
        words = "ministack, which `make test` installs from requirements/ministack.txt"
        if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
            pytest.fail(f"missing: {words}")
        pytest.skip(f"needs {words}")
    port, directory = free_port(), tempfile.mkdtemp(prefix="ministack-")
    variables = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "PATH": os.environ["PATH"]}
    process = subprocess.Popen(
        [str(PROGRAMS / "python"), "-c", RUN],
        env=variables | {"HOME": directory, "TMPDIR": directory},
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(20)
        shutil.rmtree(directory, ignore_errors=True)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        assert process.poll() is None, "ministack has ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("ministack does not listen")


@pytest.fixture(scope="module")
def servers(url: str) -> Iterator[Mapping[str, Any]]:
    """Clients that have assumed each environment's role of the servers, beside the secrets of both."""
    store, iam, sts = (client(url, service) for service in ("secretsmanager", "iam", "sts"))
    made = {}
    for environment in PREFIXES:
        deployed = Deployed.read(environment)
        deployed.make_secrets(store, {"host": "127.0.0.1", "port": 5432})
        name = f"{environment}-server"
        trust = json.dumps({"Version": "2012-10-17", "Statement": [TRUST]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        for number, document in enumerate(documents_of(deployed, "ServerRole")):
            iam.put_role_policy(RoleName=name, PolicyName=f"p{number}", PolicyDocument=json.dumps(document))
        credentials = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        made[environment] = client(url, "secretsmanager", credentials)
    yield made
    for each in (store, iam, sts, *made.values()):
        each.close()


def documents_of(deployed: Deployed, word: str) -> list[Any]:
    found = [
        policy.properties["PolicyDocument"]
        for policy in deployed.all("AWS::IAM::Policy")
        if any(f"-Service-{word}" in role for role in policy.properties["Roles"])
    ]
    assert found
    return found


def is_denied(store: Any, call: str, secret: str, **more: str) -> bool:
    try:
        getattr(store, call)(SecretId=secret, **more)
    except ClientError as error:
        return bool(error.response["Error"]["Code"] == "AccessDeniedException")
    return False


@pytest.mark.parametrize("reader", PREFIXES)
@pytest.mark.parametrize("owner", PREFIXES)
def test_servers_read_the_master_key_of_their_own_environment(
    servers: Mapping[str, Any], reader: str, owner: str
) -> None:
    secret = f"{PREFIXES[owner]}/api-credentials"
    assert is_denied(servers[reader], "get_secret_value", secret) == (reader != owner)


@pytest.mark.parametrize("environment", PREFIXES)
def test_they_read_nothing_else_and_change_nothing(servers: Mapping[str, Any], environment: str) -> None:
    for secret in (f"{PREFIXES[environment]}/db-credentials", f"tegata-{environment}-secret-jwt"):
        assert is_denied(servers[environment], "get_secret_value", secret)
    own = f"{PREFIXES[environment]}/api-credentials"
    assert is_denied(servers[environment], "put_secret_value", own, SecretString="{}")
    assert is_denied(servers[environment], "delete_secret", own)
