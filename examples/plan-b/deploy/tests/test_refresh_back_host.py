"""The boot script against moto's Parameter Store and a real nginx: what it takes, and what changes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from nginx_configuration import NginxConfiguration, build_configuration

SCRIPT = Path(__file__).parents[1] / "refresh_back_host.sh"
PARAMETER = "/plan-b/back-host"

# AWS's CLI, as far as the script asks it.
AWS = f"""#!{sys.executable}
import os, sys
import boto3
assert sys.argv[1:4] == ["ssm", "get-parameter", "--name"], sys.argv
assert sys.argv[5:] == ["--query", "Parameter.Value", "--output", "text"], sys.argv
client = boto3.client("ssm", endpoint_url=os.environ["SSM"])
try:
    print(client.get_parameter(Name=sys.argv[4])["Parameter"]["Value"])
except client.exceptions.ParameterNotFound:
    sys.exit(254)
"""


class Instance:
    """The files of one instance, and a Parameter Store of its own."""

    def __init__(self, stand_in, nginx: str, directory: Path) -> None:
        self.host_file = directory / "back_host.conf"
        self.configuration = directory / "nginx.conf"
        self.configuration.write_text(
            build_configuration(
                NginxConfiguration(
                    "unused.internal",
                    ["10.0.0.0/24"],
                    back_host_file=str(self.host_file),
                    back_ca=None,
                    listen_address="127.0.0.1",
                    run_directory=str(directory),
                    access_log=str(directory / "access.log"),
                    error_log=str(directory / "error.log"),
                )
            )
        )
        programs = directory / "bin"
        programs.mkdir()
        (programs / "aws").write_text(AWS)
        (programs / "aws").chmod(0o755)
        self.parameters = stand_in.client("ssm", endpoint_url=stand_in.moto_url)
        self._variables = {
            **os.environ,
            **stand_in.environment(),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SSM": stand_in.moto_url,
            "PARAMETER": PARAMETER,
            "BACK_HOST_FILE": str(self.host_file),
            "NGINX_CONF": str(self.configuration),
            "NGINX": nginx,
            "TRIES": "2",
            "PAUSE": "0",
        }

    def refresh(self) -> int:
        return subprocess.run(["sh", SCRIPT], env=self._variables, capture_output=True, check=False).returncode

    def put(self, value: str) -> None:
        self.parameters.put_parameter(Name=PARAMETER, Value=value, Type="String", Overwrite=True)


@pytest.fixture
def instance(stand_in, nginx: str, tmp_path: Path):
    made = Instance(stand_in, nginx, tmp_path)
    yield made
    made.parameters.delete_parameters(Names=[PARAMETER])
    made.parameters.close()


def test_a_parameter_that_is_missing_at_first_is_found_by_the_next_run(instance) -> None:
    assert instance.refresh() == 1
    assert not instance.host_file.exists()
    instance.put("back-1.plan-b.internal")
    assert instance.refresh() == 0
    assert instance.host_file.read_text() == 'set $back_host "back-1.plan-b.internal";\n'


@pytest.mark.parametrize(
    "garbage",
    ['x"; return 200 "taken', "a b", "$host", "-a", "a..b", ".a", "a.", "UPPER", "a;b", "a" * 254, "line\nanother"],
)
def test_what_is_no_name_changes_nothing(instance, garbage: str) -> None:
    instance.put("back-1.plan-b.internal")
    assert instance.refresh() == 0
    before = instance.host_file.read_bytes()
    instance.put(garbage)
    assert instance.refresh() == 2
    assert instance.host_file.read_bytes() == before


def test_what_nginx_does_not_take_is_taken_back(instance) -> None:
    instance.put("back-1.plan-b.internal")
    assert instance.refresh() == 0
    before = instance.host_file.read_bytes()
    instance.configuration.write_text(instance.configuration.read_text() + "broken")
    instance.put("back-2.plan-b.internal")
    assert instance.refresh() == 3
    assert instance.host_file.read_bytes() == before
    assert sorted(path.name for path in instance.host_file.parent.glob("back_host*")) == ["back_host.conf"]
