"""The pieces of the infrastructure that run on this machine, without CDK and without AWS."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from local_aws.backs import Backs, running_backs  # noqa: E402
from local_aws.cloudformation import Handler, Stack, stack_with  # noqa: E402
from local_aws.instance import Instance, running_instance  # noqa: E402
from tegata_infra.one_off_task import inline_source  # noqa: E402


@pytest.fixture(scope="session")
def handler() -> Handler:
    """The function as it is deployed."""
    names: dict[str, Handler] = {}
    exec(compile(inline_source(), "index.py", "exec"), names)
    return names["handler"]


@pytest.fixture(scope="session")
def aws_session() -> boto3.session.Session:
    """One for all tests: what it reads from botocore's files takes longer than a test does."""
    return boto3.session.Session()


@pytest.fixture
def stack(
    handler: Handler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws_session: boto3.session.Session
) -> Iterator[Stack]:
    """A stack with a one-off task, and the surroundings that Lambda gives its function."""
    with stack_with(handler, tmp_path) as made:
        surroundings = {
            "AWS_REGION": "ap-northeast-1",
            "AWS_DEFAULT_REGION": "ap-northeast-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ENDPOINT_URL_ECS": made.ecs.url,
            "AWS_ENDPOINT_URL_CLOUDFORMATION": made.ecs.url,
            "NO_PROXY": "127.0.0.1",
        }
        for name, value in surroundings.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
        # Made ready here: threads that meet in a new session fail now and then.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", aws_session)
        for service in ("ecs", "cloudformation"):
            boto3.client(service).close()
        yield made


@pytest.fixture(scope="session")
def nginx() -> str:
    """Where Debian's nginx is."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.skip("nginx is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return found


@pytest.fixture(scope="session")
def backs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backs]:
    """What nginx passes requests on to."""
    with running_backs(tmp_path_factory.mktemp("authority")) as running:
        yield running


@pytest.fixture
def instance(nginx: str, backs: Backs) -> Iterator[Instance]:
    """Not below `tmp_path`: started by root, nginx works as nobody, who may not enter the folders above that."""
    with tempfile.TemporaryDirectory(prefix="plan-b-") as root, running_instance(Path(root), nginx) as made:
        bundle = made.root / "etc/pki/tls/certs/ca-bundle.crt"
        bundle.parent.mkdir(parents=True)
        shutil.copy(backs.authority, bundle)
        yield made
