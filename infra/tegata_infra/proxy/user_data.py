"""The user data of Plan B's nginx instances: one shell script, with everything in it. Imports no CDK.

The configuration comes from the generator of `examples/plan-b/deploy`, which the tests of the chain use, too; so do
the script that follows the parameter and the units. The template has no file of its own to keep in step.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

MOST_BYTES = 16_384
"""EC2, "Run commands when you launch an EC2 instance with user data input": before it is encoded."""

DEPLOY = Path(__file__).parents[3] / "examples" / "plan-b" / "deploy"
UNITS = ("plan-b-nginx.service", "plan-b-back-host.service", "plan-b-back-host.timer")

_BOOT = Path(__file__).with_name("nginx_boot.sh")
_TOKEN = re.compile(r"\$\{Token\[[^\]']+\]\}")
_IN_PLACE_OF_TOKEN = "token-of-cdk"
_PLAIN = re.compile(r"[A-Za-z0-9_./-]{1,1011}")
_LOGS = "/var/log/plan-b-nginx"
_END = "END_OF_FILE"

_ROTATION = f"""{_LOGS}/*.log {{
  daily
  rotate 7
  maxsize 100M
  missingok
  notifempty
  compress
  delaycompress
  sharedscripts
  postrotate
    /usr/sbin/nginx -c /etc/plan-b/nginx.conf -s reopen
  endscript
}}
"""


@dataclass(frozen=True, slots=True)
class Signal:
    """Whom the instance tells how its boot ended: the resource that CloudFormation waits for. May be tokens of CDK.

    >>> Signal("CdkScenarioBStack", "NginxGroup").resource
    'NginxGroup'
    """

    stack: str
    resource: str


def build_user_data(
    *,
    parameter_name: str,
    front_networks: Sequence[str],
    back_certificate_name: str,
    back_port: int = 443,
    back_ca: str = "/etc/pki/tls/certs/ca-bundle.crt",
    listen_port: int = 8080,
    log_group: str | None = None,
    signal: Signal | None = None,
) -> str:
    """Return the user data for Amazon Linux 2023.

    `parameter_name`, `log_group`, `signal` and `back_certificate_name` may hold tokens of CDK; CloudFormation puts in
    their place what has been checked elsewhere (a parameter's AllowedPattern).
    `parameter_name` is the SSM parameter that holds the DNS name of the back load balancer, `back_certificate_name`
    the name that its certificate is for, `front_networks` the subnets of the front one. The instance needs
    `ssm:GetParameter` on the parameter, with `log_group` also `logs:CreateLogStream`, `logs:PutLogEvents` and
    `logs:DescribeLogStreams` on the group.

    Raises `ValueError` for a value that is not plainly of its kind, and if the whole is too long.

    >>> text = build_user_data(
    ...     parameter_name="/plan-b/back-host",
    ...     front_networks=["10.0.0.0/24", "10.0.1.0/24"],
    ...     back_certificate_name="back.example.com",
    ... )
    >>> text.startswith("#!/bin/bash"), len(text) < MOST_BYTES
    (True, True)
    """
    generator = _load_generator()
    # nginx's file is written with a name in place of a token, which comes in again at the end.
    certified = _TOKEN.sub(_IN_PLACE_OF_TOKEN, back_certificate_name)
    configuration = generator.NginxConfiguration(
        # Not asked for: the name stands in the file.
        certified,
        list(front_networks),
        back_host_file="/etc/plan-b/back_host.conf",
        back_port=back_port,
        back_ca=back_ca,
        back_certificate_name=certified,
        listen_port=listen_port,
        user="nginx",
        access_log=f"{_LOGS}/access.log",
        error_log=f"{_LOGS}/error.log",
    )
    text = generator.build_configuration(configuration)
    if certified != back_certificate_name:
        text = text.replace(certified.lower(), back_certificate_name)
    files = [("/etc/plan-b/nginx.conf", "0644", text)]
    script = (DEPLOY / "refresh_back_host.sh").read_text(encoding="utf-8")
    files.append(("/usr/local/sbin/refresh_back_host.sh", "0755", "#!/bin/sh\n" + _strip(script)))
    for unit in UNITS:
        files.append((f"/etc/systemd/system/{unit}", "0644", _strip((DEPLOY / unit).read_text(encoding="utf-8"))))
    files.append(("/etc/logrotate.d/plan-b-nginx", "0644", _ROTATION))
    if log_group is not None:
        files.append(("/etc/plan-b/cloudwatch.json", "0644", _build_agent_file(log_group)))
    settings = {
        "PARAMETER": _check("parameter_name", parameter_name),
        "LISTEN_PORT": str(listen_port),
        "HEALTH_PATH": configuration.health_path,
        "LOG_GROUP": "" if log_group is None else _check("log_group", log_group),
        "STACK": "" if signal is None else _check("stack", signal.stack),
        "RESOURCE": "" if signal is None else _check("resource", signal.resource),
    }
    return _build_script(settings, files)


def _build_script(settings: dict[str, str], files: list[tuple[str, str, str]]) -> str:
    lines = ["#!/bin/bash", "# With comments: infra/tegata_infra/proxy/nginx_boot.sh, examples/plan-b/deploy"]
    lines += [f"{name}='{value}'" for name, value in settings.items()]
    lines.append("write_files() {")
    for number, (path, mode, content) in enumerate(files):
        last = " &&" if number < len(files) - 1 else ""
        lines += [f"install -D -m {mode} /dev/stdin {path} <<'{_END}'{last}", content.rstrip("\n"), _END]
    lines.append("}")
    text = "\n".join(lines) + "\n" + _strip(_BOOT.read_text(encoding="utf-8"))
    size = len(text.encode())
    if size > MOST_BYTES:
        raise ValueError(f"user data: {size} bytes, EC2 takes {MOST_BYTES}")
    return text


def _check(name: str, value: str) -> str:
    # Plain text and tokens: nothing that ends a word in quotes.
    if _PLAIN.fullmatch(_TOKEN.sub(_IN_PLACE_OF_TOKEN, value)) is None:
        raise ValueError(f"{name}: not of the form it must have")
    return value


def _build_agent_file(log_group: str) -> str:
    places = {
        "access": f"{_LOGS}/access.log",
        "error": f"{_LOGS}/error.log",
        "boot": "/var/log/cloud-init-output.log",
    }
    collected = [
        {"file_path": path, "log_group_name": log_group, "log_stream_name": f"{{instance_id}}/{name}"}
        for name, path in places.items()
    ]
    return json.dumps({"logs": {"logs_collected": {"files": {"collect_list": collected}}}}, indent=1)


def _strip(text: str) -> str:
    kept = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return "\n".join(kept) + "\n"


def _load_generator() -> ModuleType:
    """Return the example's module, which stands alone and can be copied as it is."""
    name = "nginx_configuration"
    if name not in sys.modules:
        spec = spec_from_file_location(name, DEPLOY / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        # Dataclasses look their module up while it is being loaded.
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
