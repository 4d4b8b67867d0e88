"""The first boot of an nginx instance, for real but for systemd and the package manager: what serves afterwards."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local_aws.backs import CERTIFIED, FIRST, SECOND, Backs
from local_aws.instance import Instance
from local_aws.metadata import Parameters
from local_aws.systemd import is_ending
from tegata_infra.proxy.user_data import Signal, build_user_data

PARAMETER = "/plan-b/back-host"
CLI = Path(__file__).parents[2] / ".venv/ministack/bin/aws"


def user_data(instance: Instance, backs: Backs, log_group: str | None = None) -> str:
    return build_user_data(
        parameter_name=PARAMETER,
        front_networks=[f"{FIRST}/32"],
        back_certificate_name=CERTIFIED,
        back_port=backs.port,
        listen_port=instance.port,
        log_group=log_group,
        signal=Signal("CdkScenarioBStack", "NginxGroup"),
    )


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def signals(instance: Instance) -> list[str]:
    """The statuses that CloudFormation was told."""
    told = [line.split() for line in instance.asked("cfn-signal")]
    for words in told:
        assert words[0] == "--exit-code"
        assert " ".join(words[2:]) == "--stack CdkScenarioBStack --resource NginxGroup --region ap-northeast-1"
    return [words[1] for words in told]


def test_from_nothing_to_a_request_that_arrives(instance: Instance, backs: Backs) -> None:
    """With AWS's own CLI, whose credentials are those of the instance's role."""
    if not CLI.exists():
        pytest.skip("AWS's CLI is not installed")
    with Parameters().serve() as parameters:
        parameters.values[PARAMETER] = FIRST
        instance.use_real_cli(str(CLI), parameters)
        ran = instance.boot(user_data(instance, backs))
    assert ran.returncode == 0, (ran.stdout, ran.stderr, instance.systemd.said)
    assert instance.get(**{"x-amzn-oidc-data": "told by the front"}) == f"{FIRST} /x told by the front"
    assert signals(instance) == ["0"]
    assert set(parameters.asked) == {PARAMETER}
    assert instance.metadata.refused == 0
    told = ran.stdout + ran.stderr + "".join(instance.systemd.said)
    for token in instance.metadata.tokens:
        assert token not in told


def test_what_is_installed_and_what_comes_back_after_the_next_boot(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    ran = instance.boot(user_data(instance, backs))
    assert ran.returncode == 0, (ran.stdout, ran.stderr, instance.systemd.said)
    assert instance.asked("dnf") == ["install -y -q nginx logrotate aws-cfn-bootstrap"]
    assert instance.systemd.enabled >= {"plan-b-nginx.service", "plan-b-back-host.service", "plan-b-back-host.timer"}
    assert instance.systemd.timers == {"plan-b-back-host.timer", "logrotate.timer"}
    modes = {
        str(path.relative_to(instance.root)): path.stat().st_mode & 0o777
        for top in ("etc/plan-b", "usr/local", "etc/systemd", "etc/logrotate.d")
        for path in (instance.root / top).rglob("*")
        if path.is_file()
    }
    assert modes.pop("usr/local/sbin/refresh_back_host.sh") == 0o755
    assert set(modes.values()) == {0o644}
    assert ran.stdout == "plan-b: nginx answers\n"


def test_booting_once_more_changes_nothing(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    first, second = (instance.boot(user_data(instance, backs)) for _ in range(2))
    assert (first.returncode, second.returncode, signals(instance)) == (0, 0, ["0", "0"])
    assert instance.get() == f"{FIRST} /x "


def test_a_parameter_that_is_not_there_yet_is_waited_for(instance: Instance, backs: Backs) -> None:
    """Its own tries come to an end first, and it is started again."""
    instance.put(FIRST)
    instance.fail("aws", 8)
    ran = instance.boot(user_data(instance, backs))
    assert (ran.returncode, signals(instance)) == (0, ["0"]), ran.stdout
    assert instance.get() == f"{FIRST} /x "


def test_a_parameter_that_never_comes_fails_the_boot_and_is_followed_once_it_is_there(
    instance: Instance, backs: Backs
) -> None:
    ran = instance.boot(user_data(instance, backs))
    assert (ran.returncode, signals(instance)) == (3, ["3"])
    assert f"the parameter {PARAMETER} does not say where the back is" in ran.stdout
    assert len(instance.asked("aws")) == 60
    instance.systemd.go_on()
    assert "ConnectError" in instance.get()
    instance.put(FIRST)
    instance.systemd.go_on()
    assert instance.get() == f"{FIRST} /x "


@pytest.mark.parametrize("faults", [[503, 503], [200, 401], [0], [404, 0, 200, 500]], ids=str)
def test_a_metadata_service_that_is_slow_or_has_faults_is_asked_again(
    instance: Instance, backs: Backs, faults: list[int]
) -> None:
    instance.put(FIRST)
    instance.metadata.faults = faults
    # What takes longer than this is given up.
    ran = instance.boot(user_data(instance, backs).replace("--max-time 5", "--max-time 2"))
    assert (ran.returncode, instance.metadata.faults) == (0, []), ran.stdout
    assert "AWS_REGION=ap-northeast-1" in (instance.root / "etc/plan-b/back-host.env").read_text()


def test_without_a_region_nothing_is_done(instance: Instance, backs: Backs) -> None:
    instance.metadata.faults = [503] * 10
    ran = instance.boot(user_data(instance, backs))
    assert ran.returncode == 1
    assert ran.stdout.splitlines()[-4] == "plan-b: the metadata service does not say which region this is"
    assert instance.asked("dnf") == []


def test_a_package_manager_that_fails_is_tried_again(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    instance.fail("dnf", 4)
    assert instance.boot(user_data(instance, backs)).returncode == 0


def test_an_image_without_amazons_cli_gets_it(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    (instance.bin / "aws").rename(instance.root / "aws")
    if shutil.which("aws", path=instance.environment["PATH"]):
        pytest.skip("a CLI is where it cannot be hidden from an instance")
    assert instance.boot(user_data(instance, backs)).returncode == 0
    assert instance.asked("dnf") == ["install -y -q nginx logrotate awscli-2 aws-cfn-bootstrap"]


def test_without_its_packages_the_boot_fails(instance: Instance, backs: Backs) -> None:
    instance.fail("dnf", 5)
    ran = instance.boot(user_data(instance, backs))
    assert ran.returncode == 2
    assert "dnf cannot install: nginx logrotate aws-cfn-bootstrap" in ran.stdout
    assert len(instance.asked("dnf")) == 5


def test_the_timer_follows_the_parameter_and_keeps_what_was_good(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    assert instance.boot(user_data(instance, backs)).returncode == 0
    instance.put(SECOND)
    workers = instance.systemd.find_workers()
    instance.systemd.go_on()
    # The new ones begin before the old ones are told to end: until then one request comes here, the next one there.
    wait_until(lambda: all(map(is_ending, workers)))
    assert instance.get() == f"{SECOND} /x "
    for broken in ("x; return 200", "", "nobody.invalid"):
        instance.put(broken)
        instance.systemd.go_on()
        assert instance.get() == f"{SECOND} /x "


def test_a_configuration_that_nginx_refuses_fails_the_boot(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    broken = user_data(instance, backs).replace("server_tokens off;", "server_tokens perhaps;")
    ran = instance.boot(broken)
    # The script that follows the parameter tries the configuration with the name, and takes the name away again.
    assert (ran.returncode, signals(instance)) == (3, ["3"])
    assert any("nginx does not take the configuration" in said for said in instance.systemd.said)


def test_what_nginx_refuses_at_a_later_boot_is_told_too(instance: Instance, backs: Backs) -> None:
    """The name is there already, so that the script that follows the parameter has nothing to try."""
    instance.put(FIRST)
    text = user_data(instance, backs)
    assert instance.boot(text).returncode == 0
    ran = instance.boot(text.replace("server_tokens off;", "server_tokens perhaps;"))
    assert (ran.returncode, signals(instance)) == (4, ["0", "4"])
    assert instance.get() == f"{FIRST} /x "


def test_an_nginx_that_does_not_answer_fails_the_boot(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    # As long as its holder does not share it, nobody else has the port.
    instance.keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    ran = instance.boot(user_data(instance, backs))
    assert (ran.returncode, signals(instance)) == (5, ["5"])
    assert ran.stdout.endswith("plan-b: nginx does not answer\n")


def test_logs_go_to_cloudwatch_if_wanted_and_are_no_condition(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    assert instance.boot(user_data(instance, backs, "/ec2/plan-b")).returncode == 0
    document = instance.root / "etc/plan-b/cloudwatch.json"
    assert instance.asked("amazon-cloudwatch-agent-ctl") == [f"-a fetch-config -m ec2 -s -c file:{document}"]
    assert document.read_text().count('"/ec2/plan-b"') == 3


def test_nginx_writes_into_a_new_log_after_the_rotation(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    assert instance.boot(user_data(instance, backs)).returncode == 0
    rotation = (instance.root / "etc/logrotate.d/plan-b-nginx").read_text()
    script = rotation.partition("postrotate")[2].partition("endscript")[0]
    pattern = rotation.partition(" {")[0]
    log = instance.root / "var/log/plan-b-nginx/access.log"
    assert log.match(pattern)
    log.rename(log.with_suffix(".log.1"))
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True)
    wait_until(lambda: instance.get() == f"{FIRST} /x " and log.exists() and '"path":"/x"' in log.read_text())


def test_a_back_without_the_right_certificate_gets_no_request(instance: Instance, backs: Backs) -> None:
    instance.put(FIRST)
    text = user_data(instance, backs).replace(f"proxy_ssl_name {CERTIFIED};", "proxy_ssl_name another.internal;")
    assert instance.boot(text).returncode == 0
    assert "502 Bad Gateway" in instance.get()
