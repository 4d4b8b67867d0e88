"""The user data of nginx instances as text: what it holds, how long it is, and what shells say of it."""

from __future__ import annotations

import doctest
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tegata_infra.one_off_task
from tegata_infra.proxy import user_data
from tegata_infra.proxy.user_data import DEPLOY, MOST_BYTES, Signal, build_user_data

BOOT = Path(user_data.__file__).with_name("nginx_boot.sh")
TOKEN = "${Token[TOKEN.127]}"
GIVEN: dict[str, Any] = {
    "parameter_name": "/plan-b/back-host",
    "front_networks": ["10.0.0.0/24", "10.0.1.0/24"],
    "back_certificate_name": "back.example.com",
}
EVERYTHING: dict[str, Any] = {
    **GIVEN,
    "front_networks": [f"10.0.{zone}.0/24" for zone in range(6)],
    "back_certificate_name": f"{'a' * 60}.example.com",
    "log_group": "/ec2/idp-server-production-nginx",
    "signal": Signal("CdkScenarioBStack-production", "NginxGroup"),
}


def find_shellcheck() -> str:
    found = shutil.which("shellcheck")
    if found is None:
        pytest.skip("shellcheck is not installed")
    return found


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.fixture(params=["the least", "everything"])
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """User data as a file."""
    file = tmp_path / "user-data"
    file.write_text(build_user_data(**(GIVEN if request.param == "the least" else EVERYTHING)))
    return file


def test_bash_and_shellcheck_find_nothing(script: Path) -> None:
    assert run("bash", "-n", script) == ""
    assert run(find_shellcheck(), "-x", script) == ""


@pytest.mark.parametrize("source", [BOOT, DEPLOY / "refresh_back_host.sh"], ids=lambda path: path.name)
def test_shellcheck_finds_nothing_in_the_sources(source: Path) -> None:
    assert run("bash", "-n", source) == ""
    assert run(find_shellcheck(), source) == ""


def test_everything_fits_with_room_to_grow() -> None:
    assert len(build_user_data(**EVERYTHING).encode()) < MOST_BYTES - 2048


def test_what_is_too_long_is_refused() -> None:
    networks = [f"10.{high}.{low}.0/24" for high in range(4) for low in range(50)]
    with pytest.raises(ValueError, match="EC2 takes 16384"):
        build_user_data(**{**GIVEN, "front_networks": networks})


def test_the_configuration_is_the_generators() -> None:
    generator = user_data._load_generator()
    configuration = generator.NginxConfiguration(
        "back.example.com",
        GIVEN["front_networks"],
        back_host_file="/etc/plan-b/back_host.conf",
        back_certificate_name="back.example.com",
        user="nginx",
        access_log="/var/log/plan-b-nginx/access.log",
        error_log="/var/log/plan-b-nginx/error.log",
    )
    assert generator.build_configuration(configuration) in build_user_data(**GIVEN)


def test_tokens_of_cdk_stay_as_they_are() -> None:
    text = build_user_data(
        **{
            **GIVEN,
            "parameter_name": TOKEN,
            "back_certificate_name": f"back.{TOKEN}",
            "log_group": f"/ec2/{TOKEN}",
            "signal": Signal(TOKEN, "NginxGroup"),
        }
    )
    for line in (f"PARAMETER='{TOKEN}'", f"LOG_GROUP='/ec2/{TOKEN}'", f"STACK='{TOKEN}'", "RESOURCE='NginxGroup'"):
        assert f"{line}\n" in text
    assert f"proxy_ssl_name back.{TOKEN};" in text
    assert f'"log_group_name": "/ec2/{TOKEN}"' in text
    assert user_data._IN_PLACE_OF_TOKEN not in text


BAD = ["x'; reboot; '", "a b", "$(id)", "`id`", "${HOME}", "line\nEND_OF_FILE\n", "${Token[x']}", "é"]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["parameter_name", "back_certificate_name", "log_group", "stack", "resource"])
def test_a_value_that_could_be_more_than_a_value_is_refused(name: str, bad: str) -> None:
    signal = {"stack": "Stack", "resource": "Group"}
    given = {"signal": Signal(**{**signal, name: bad})} if name in signal else {name: bad}
    with pytest.raises(ValueError, match="not of the form"):
        build_user_data(**{**GIVEN, **given})


@pytest.mark.parametrize("name", ["parameter_name", "log_group"])
def test_an_empty_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not of the form"):
        build_user_data(**{**GIVEN, name: ""})


@pytest.mark.parametrize("module", [user_data, tegata_infra.one_off_task], ids=lambda module: module.__name__)
def test_examples_in_docstrings_are_so(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
