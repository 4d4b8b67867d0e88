"""The boot script with a live nginx: what it has nginx follow, what changes nothing, and what it does at boot."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from chain import UNUSED, free_port, wait_until
from nginx_configuration import NginxConfiguration, build_configuration

DEPLOY = Path(__file__).parents[1]
SCRIPT = DEPLOY / "refresh_back_host.sh"
PARAMETER = "/plan-b/back-host"
FIRST, SECOND = "127.0.0.1", "127.0.0.2"

# Amazon's CLI, as far as the script asks it: the value is in a file, and each question leaves a line.
AWS = """#!/bin/sh
echo "$*" >>"$STORE.asked"
[ "$*" = "ssm get-parameter --name /plan-b/back-host --query Parameter.Value --output text" ] || exit 252
[ ! -e "$STORE.away" ] || { rm "$STORE.away"; exit 255; }
cat "$STORE" || exit 254
"""

# The same for a Parameter Store that somebody else wrote, by AWS's protocol.
AWS_BY_HTTP = f"""#!{sys.executable}
import json, os, sys, urllib.request
headers = json.loads(os.environ["SSM_HEADERS"])
headers["X-Amz-Target"] = "AmazonSSM.GetParameter"
request = urllib.request.Request(os.environ["SSM"], json.dumps({{"Name": sys.argv[4]}}).encode(), headers)
try:
    print(json.load(urllib.request.urlopen(request))["Parameter"]["Value"])
except urllib.error.HTTPError as error:
    sys.exit(254 if b"ParameterNotFound" in error.read() else 255)
"""

# Knows every name but one, and asks nobody.
GETENT = """#!/bin/sh
[ "$1" = ahosts ] && [ "$2" != misspelt.plan-b.internal ]
"""

# nginx, but for the signal to reload: as when the master belongs to somebody else.
NGINX_WITHOUT_RELOAD = """#!/bin/sh
case "$*" in *"-s reload"*) exit 1 ;; esac
exec {nginx} "$@"
"""


def put_program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


class Instance:
    """The files of one instance, its Parameter Store, and nginx if it is started."""

    def __init__(self, nginx: str, directory: Path, back_port: int = 9) -> None:
        self.directory = directory
        self.host_file = directory / "back_host.conf"
        self.configuration = directory / "nginx.conf"
        self.store = directory / "parameter"
        self.port = free_port()
        os.chmod(directory, 0o755)
        self.configuration.write_text(
            build_configuration(
                NginxConfiguration(
                    "unused.internal",
                    ["10.0.0.0/24"],
                    back_host_file=str(self.host_file),
                    back_port=back_port,
                    back_ca=None,
                    listen_address=FIRST,
                    listen_port=self.port,
                    workers=1,
                    run_directory=str(directory),
                    access_log=str(directory / "access.log"),
                    error_log=str(directory / "error.log"),
                )
            )
        )
        (directory / "bin").mkdir()
        put_program(directory / "bin" / "getent", GETENT)
        self.aws = put_program(directory / "bin" / "aws", AWS)
        self.nginx = nginx
        self.variables = {
            **os.environ,
            "PATH": f"{directory / 'bin'}:{os.environ['PATH']}",
            "STORE": str(self.store),
            "PARAMETER": PARAMETER,
            "BACK_HOST_FILE": str(self.host_file),
            "NGINX_CONF": str(self.configuration),
            "NGINX_PROGRAM": nginx,
            "TRIES": "2",
            "PAUSE": "0",
        }

    def run(self, **variables: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(SCRIPT)]
        return subprocess.run(command, env={**self.variables, **variables}, capture_output=True, text=True, check=False)

    def refresh(self, **variables: str) -> int:
        return self.run(**variables).returncode

    def put(self, value: str) -> None:
        self.store.write_text(f"{value}\n")

    def told(self) -> str | None:
        """What nginx.conf includes."""
        return self.host_file.read_text() if self.host_file.exists() else None

    def leftovers(self) -> list[str]:
        """Files that a run should have taken away again."""
        return sorted(path.name for path in self.directory.glob("back_host.conf?*"))

    def asked(self) -> int:
        return len((self.store.with_name("parameter.asked")).read_text().splitlines())

    def workers(self) -> str:
        """Whom nginx serves with: others after each reload."""
        master = (self.directory / "nginx.pid").read_text().strip()
        return Path(f"/proc/{master}/task/{master}/children").read_text()

    def back(self) -> str:
        """Which back nginx passes a request on to."""
        try:
            return httpx2.get(f"http://{FIRST}:{self.port}/", trust_env=False, timeout=60, verify=UNUSED).text
        except httpx2.HTTPError as error:
            return repr(error)

    def start(self) -> subprocess.Popen[bytes]:
        command = [self.nginx, "-e", str(self.directory / "start.log"), "-c", str(self.configuration)]
        return subprocess.Popen([*command, "-g", "daemon off;"])


def says(host: str) -> str:
    return f'set $back_host "{host}";\n'


@pytest.fixture
def instance(nginx: str, tmp_path: Path) -> Instance:
    return Instance(nginx, tmp_path)


@pytest.fixture(scope="module")
def backs() -> Iterator[int]:
    """Two backs that say where they are; their port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = str(self.connection.getsockname()[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    port = free_port()
    with ThreadingHTTPServer((FIRST, port), Handler) as first, ThreadingHTTPServer((SECOND, port), Handler) as second:
        for server in (first, second):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield port
        for server in (first, second):
            server.shutdown()


@pytest.fixture
def live(nginx: str, tmp_path: Path, backs: int) -> Iterator[Instance]:
    """An instance whose nginx runs and passes on to the first back."""
    made = Instance(nginx, tmp_path, backs)
    made.put(FIRST)
    assert made.refresh() == 0
    process = made.start()
    try:
        wait_until(lambda: made.back() == FIRST, "the first back")
        yield made
    finally:
        process.terminate()
        process.wait(120)


def test_a_running_nginx_follows_the_parameter(live: Instance) -> None:
    live.put(SECOND)
    assert live.refresh() == 0
    wait_until(lambda: live.back() == SECOND, "the second back")
    assert (live.told(), live.leftovers()) == (says(SECOND), [])


def test_without_a_change_nginx_is_left_alone(live: Instance) -> None:
    before, file = live.workers(), live.host_file.stat()
    assert live.refresh() == 0
    assert live.workers() == before
    assert (live.host_file.stat().st_ino, live.host_file.stat().st_mtime_ns) == (file.st_ino, file.st_mtime_ns)


KEPT = {
    "the parameter cannot be read": (1, lambda live: live.store.unlink()),
    "the parameter is empty": (1, lambda live: live.put("")),
    "the parameter holds no name": (2, lambda live: live.put("x; return 200")),
    "the name has no address": (6, lambda live: live.put("misspelt.plan-b.internal")),
    "nginx refuses the configuration": (
        3,
        lambda live: (live.put(SECOND), live.configuration.write_text(live.configuration.read_text() + "broken")),
    ),
    "nginx cannot be reloaded": (
        4,
        lambda live: (
            live.put(SECOND),
            put_program(live.directory / "bin" / "nginx", NGINX_WITHOUT_RELOAD.format(nginx=live.nginx)),
            live.variables.update(NGINX_PROGRAM=str(live.directory / "bin" / "nginx")),
        ),
    ),
}


@pytest.mark.parametrize(("status", "happens"), KEPT.values(), ids=KEPT)
def test_the_old_name_stays_if(live: Instance, status: int, happens: Callable[[Instance], object]) -> None:
    workers = live.workers()
    happens(live)
    ran = live.run()
    assert (ran.returncode, live.told(), live.leftovers()) == (status, says(FIRST), [])
    assert ran.stderr
    assert (live.back(), live.workers()) == (FIRST, workers)


def test_what_was_refused_once_is_tried_again(live: Instance) -> None:
    wrapper = put_program(live.directory / "bin" / "nginx", NGINX_WITHOUT_RELOAD.format(nginx=live.nginx))
    live.put(SECOND)
    assert live.refresh(NGINX_PROGRAM=str(wrapper)) == 4
    assert live.refresh() == 0
    wait_until(lambda: live.back() == SECOND, "the second back")


@pytest.mark.parametrize("proven", [says(FIRST), ""], ids=["with an old name", "without one"])
def test_a_run_that_was_cut_off_before_the_reload_is_finished_by_the_next(live: Instance, proven: str) -> None:
    """The file has the new name already, nginx has not."""
    live.put(SECOND)
    live.host_file.with_name("back_host.conf.old").write_text(proven)
    live.host_file.write_text(says(SECOND))
    assert live.refresh() == 0
    wait_until(lambda: live.back() == SECOND, "the second back")
    assert live.leftovers() == []


def test_at_boot_the_name_is_there_before_nginx(instance: Instance) -> None:
    assert instance.refresh() == 1
    assert instance.told() is None
    instance.put("back-1.plan-b.internal")
    ran = instance.run()
    assert (ran.returncode, instance.told(), instance.leftovers()) == (0, says("back-1.plan-b.internal"), [])
    assert "not running" in ran.stderr


def test_a_pid_left_over_from_another_boot_is_not_signalled(instance: Instance) -> None:
    instance.put("back-1.plan-b.internal")
    with subprocess.Popen(["sleep", "600"]) as somebody:
        (instance.directory / "nginx.pid").write_text(f"{somebody.pid}\n")
        assert instance.refresh() == 0
        assert somebody.poll() is None
        somebody.kill()


def test_the_first_name_is_taken_even_if_it_has_no_address_yet(instance: Instance) -> None:
    instance.put("misspelt.plan-b.internal")
    assert (instance.refresh(), instance.told()) == (0, says("misspelt.plan-b.internal"))


def test_nothing_is_left_if_nginx_refuses_the_first_name(instance: Instance) -> None:
    instance.configuration.write_text(instance.configuration.read_text() + "broken")
    instance.put("back-1.plan-b.internal")
    assert (instance.refresh(), instance.told(), instance.leftovers()) == (3, None, [])


def test_a_parameter_store_that_is_away_at_first_is_asked_again(instance: Instance) -> None:
    instance.put("back-1.plan-b.internal")
    instance.store.with_name("parameter.away").touch()
    assert (instance.refresh(), instance.asked()) == (0, 2)


def test_it_is_asked_so_often_and_ever_more_slowly(instance: Instance) -> None:
    put_program(instance.directory / "bin" / "sleep", '#!/bin/sh\necho "$1" >>"$STORE.slept"\n')
    assert (instance.refresh(TRIES="8", PAUSE="1"), instance.asked()) == (1, 8)
    assert instance.store.with_name("parameter.slept").read_text().split() == ["1", "2", "4", "8", "16", "30", "30"]


@pytest.mark.parametrize("name", ["internal-PlanB-Back-1A2B.eu-central-1.elb.amazonaws.com", "a.b", "a-b"])
def test_capitals_of_a_generated_name_are_made_small(instance: Instance, name: str) -> None:
    instance.put(name)
    assert (instance.refresh(), instance.told()) == (0, says(name.lower()))


NO_NAMES = ['x"; return 200 "taken', "a b", "$host", "-a", "a-", "a.-b", "a-.b", "a..b", ".a", "a.", "None", "a;b", "é"]


@pytest.mark.parametrize(
    "garbage", [*NO_NAMES, "a." * 127 + "a", f"{'a' * 64}.b", "line\nanother", "a_b", "a/b", "a:80"]
)
def test_what_is_no_name_is_refused_and_not_repeated(instance: Instance, garbage: str) -> None:
    instance.put(garbage)
    ran = instance.run()
    assert (ran.returncode, instance.told(), instance.leftovers()) == (2, None, [])
    assert ran.stderr == "the parameter holds no host name; nothing is changed\n"


@pytest.mark.parametrize("name", ["PARAMETER", "BACK_HOST_FILE", "NGINX_CONF"])
def test_a_variable_that_is_missing_is_named(instance: Instance, name: str) -> None:
    ran = instance.run(**{name: ""})
    assert (ran.returncode, ran.stderr) == (64, f"{name} is not set\n")


def test_the_name_comes_from_ssm(instance: Instance, stand_in) -> None:
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential=test/20260101/{stand_in.region}/ssm/aws4_request",
    }
    surroundings = {"SSM": stand_in.moto_url, "SSM_HEADERS": json.dumps(headers), "TRIES": "1"}
    put_program(instance.aws, AWS_BY_HTTP)
    assert instance.refresh(**surroundings) == 1
    parameter = {"Name": PARAMETER, "Value": "back-1.plan-b.internal", "Type": "String"}
    put = {**headers, "X-Amz-Target": "AmazonSSM.PutParameter"}
    httpx2.post(stand_in.moto_url, json=parameter, headers=put, trust_env=False, timeout=60).raise_for_status()
    assert instance.refresh(**surroundings) == 0
    assert instance.told() == says("back-1.plan-b.internal")
    away = {**headers, "X-Amz-Target": "AmazonSSM.DeleteParameter"}
    httpx2.post(
        stand_in.moto_url, json={"Name": PARAMETER}, headers=away, trust_env=False, timeout=60
    ).raise_for_status()


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / name)
    return parser


def test_systemd_lets_the_script_try_to_the_end_and_starts_nginx_after_it() -> None:
    service, nginx = unit("plan-b-back-host.service"), unit("plan-b-nginx.service")
    text = SCRIPT.read_text()
    tries, pause = (int(re.findall(rf"{name}:-(\d+)", text)[0]) for name in ("TRIES", "PAUSE"))
    asking = sum(int(part) for part in re.findall(r"timeout -k (\d+) (\d+) aws", text)[0])
    resolving = sum(int(part) for part in re.findall(r"timeout -k (\d+) (\d+) getent", text)[0])
    waiting = int(re.findall(r"flock -w (\d+)", text)[0])
    longest = waiting + resolving + tries * asking + sum(min(pause * 2**each, 30) for each in range(tries - 1))
    assert longest < int(service["Service"]["TimeoutStartSec"])
    assert service["Unit"]["Before"] == "plan-b-nginx.service"
    assert "plan-b-back-host.service" in nginx["Unit"]["After"].split()
    # Without a name nginx does not start: it must not give up.
    assert (nginx["Service"]["Restart"], nginx["Unit"]["StartLimitIntervalSec"]) == ("always", "0")


@pytest.mark.parametrize("name", ["plan-b-nginx.service", "plan-b-back-host.service"])
def test_systemd_makes_the_directory_that_the_configuration_names_and_leaves_it(name: str) -> None:
    """The script has nginx check the configuration before nginx's own unit has ever been started."""
    service = unit(name)["Service"]
    assert NginxConfiguration("back.internal", ["10.0.0.0/24"]).run_directory == f"/run/{service['RuntimeDirectory']}"
    assert service["RuntimeDirectoryPreserve"] == "yes"
