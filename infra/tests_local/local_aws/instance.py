"""An instance that boots with user data: its files are in a directory, and what it finds in AWS is on loopback."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2

from local_aws.metadata import Metadata, Parameters
from local_aws.systemd import SYSTEMCTL, Systemd
from tegata_credentials.testing import free_port

PLACES = re.compile(r"(?<![\w.}/-])/(etc|opt|run|usr|var)/")

# What Amazon Linux has in its repositories, as far as it is installed here. Each try takes a line of the faults away.
DNF = """#!/bin/sh
echo "$*" >>"$INSTANCE/dnf.asked"
if [ -s "$INSTANCE/dnf.faults" ]; then sed -i 1d "$INSTANCE/dnf.faults"; exit 1; fi
for word; do
  case $word in
    nginx) mkdir -p "$INSTANCE/usr/sbin"; ln -sf "$PROGRAM" "$INSTANCE/usr/sbin/nginx" ;;
    awscli-2) cp "$INSTANCE/aws" "$INSTANCE/bin/aws" ;;
    aws-cfn-bootstrap)
      mkdir -p "$INSTANCE/opt/aws/bin"; cp "$INSTANCE/bin/record" "$INSTANCE/opt/aws/bin/cfn-signal" ;;
    amazon-cloudwatch-agent)
      agent=$INSTANCE/opt/aws/amazon-cloudwatch-agent/bin
      mkdir -p "$agent"; cp "$INSTANCE/bin/record" "$agent/amazon-cloudwatch-agent-ctl" ;;
  esac
done
"""
RECORD = """#!/bin/sh
echo "$*" >>"$INSTANCE/${0##*/}.asked"
"""
# Amazon's CLI, as far as it is asked: the value is in a file. It starts in a hundredth of the time of the real one.
AWS = """#!/bin/sh
echo "$*" >>"$INSTANCE/aws.asked"
[ "$AWS_REGION" = ap-northeast-1 ] || exit 253
if [ -s "$INSTANCE/aws.faults" ]; then sed -i 1d "$INSTANCE/aws.faults"; exit 254; fi
cat "$INSTANCE/parameter" || exit 254
"""


class Instance:
    """One instance; `root` stands for the root of its files. `keeper` is bound to the port for nginx."""

    def __init__(self, root: Path, nginx: str, metadata: Metadata, systemd: Systemd, keeper: socket.socket) -> None:
        self.root, self.metadata, self.systemd = root, metadata, systemd
        self.keeper: socket.socket = keeper
        self.port: int = keeper.getsockname()[1]
        os.chmod(root, 0o755)
        self.bin = root / "bin"
        self.bin.mkdir()
        for name, text in (("dnf", DNF), ("systemctl", SYSTEMCTL), ("sleep", RECORD), ("record", RECORD), ("aws", AWS)):
            self.put_program(name, text)
        self.environment = {
            "PATH": f"{self.bin}:{root}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
            "INSTANCE": str(root),
            "PROGRAM": nginx,
            "SYSTEMD": systemd.url,
            "HOME": str(root),
        }
        systemd.environment = self.environment

    def put_program(self, name: str, text: str) -> None:
        """Put a program before all others."""
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def use_real_cli(self, program: str, parameters: Parameters) -> None:
        """Ask Parameter Store by AWS's own CLI, with what the metadata service knows of the role."""
        self.put_program("aws", f'#!/bin/sh\nexec {program} "$@"\n')
        self.environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = self.metadata.url
        self.environment["AWS_ENDPOINT_URL_SSM"] = parameters.url
        # It gives the metadata service a second, once, unless it is told otherwise.
        self.environment["AWS_METADATA_SERVICE_TIMEOUT"] = "60"
        self.environment["NO_PROXY"] = "127.0.0.1"

    def place(self, user_data: str) -> str:
        """Return user data for this directory and this machine, else as it is."""
        text = PLACES.sub(lambda found: f"{self.root}{found[0]}", user_data)
        for there, here in (
            ("http://169.254.169.254", self.metadata.url),
            ("listen 0.0.0.0:", "listen 127.0.0.1:"),
            # An ordinary user's nginx does not look at it.
            ("user nginx;", "user nobody nogroup;"),
            # The back is a process among others on a busy machine.
            ("proxy_connect_timeout 3s;", "proxy_connect_timeout 30s;"),
            ("proxy_next_upstream_timeout 6s;", "proxy_next_upstream_timeout 60s;"),
        ):
            assert there in text
            text = text.replace(there, here)
        return text

    def boot(self, user_data: str) -> subprocess.CompletedProcess[str]:
        """Run user data as cloud-init does."""
        script = self.root / "user-data"
        script.write_text(self.place(user_data))
        script.chmod(0o700)
        return subprocess.run(
            [script], env=self.environment, cwd="/", capture_output=True, text=True, timeout=900, check=False
        )

    def put(self, value: str) -> None:
        """Set the parameter."""
        (self.root / "parameter").write_text(f"{value}\n")

    def fail(self, program: str, times: int) -> None:
        """Have a program fail so many times."""
        (self.root / f"{program}.faults").write_text("x\n" * times)

    def asked(self, program: str) -> list[str]:
        """Return with what words a program was called."""
        file = self.root / f"{program}.asked"
        return file.read_text().splitlines() if file.exists() else []

    def get(self, **headers: str) -> str:
        """Ask through nginx, as the front load balancer does; an error is returned as its text."""
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/x", headers=headers, trust_env=False, timeout=60).text
        except httpx2.HTTPError as error:
            return repr(error)


@contextmanager
def running_instance(root: Path, nginx: str) -> Iterator[Instance]:
    """An instance before its first boot."""
    with ExitStack() as stack, socket.socket() as keeper:
        port = free_port()
        keeper.bind(("127.0.0.1", port))
        # nginx may have the port as well, and nobody else: this socket never listens.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        metadata = stack.enter_context(Metadata().serve())
        systemd = stack.enter_context(Systemd(root).serve())
        yield Instance(root, nginx, metadata, systemd, keeper)
