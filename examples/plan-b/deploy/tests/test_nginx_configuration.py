"""The generator: nginx takes what it writes, and it writes nothing that somebody slipped in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nginx_configuration import MutualTls, NginxConfiguration, build_configuration

from tegata_credentials.testing.authority import Authority

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOSTS = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
NETWORKS = st.one_of(
    st.ip_addresses(v=4).filter(lambda a: int(a) != 2**32 - 1).map(lambda a: f"{a}/32"),
    st.ip_addresses(v=6).map(lambda a: f"{a}/128"),
)


def check(nginx: str, directory: Path, config: NginxConfiguration) -> subprocess.CompletedProcess[str]:
    file = directory / "nginx.conf"
    file.write_text(build_configuration(config))
    return subprocess.run([nginx, "-t", "-q", "-e", "stderr", "-c", file], capture_output=True, text=True, check=False)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    host=HOSTS,
    networks=st.lists(NETWORKS, min_size=1, max_size=4, unique=True),
    port=st.integers(1, 65535),
    kilobytes=st.integers(8, 64),
    seconds=st.integers(1, 30),
    tls=st.booleans(),
    mutual=st.booleans(),
    resolver=st.sampled_from(["169.254.169.253", "fd00:ec2::253"]),
)
def test_nginx_takes_every_configuration(
    nginx, tmp_path, host, networks, port, kilobytes, seconds, tls, mutual, resolver
) -> None:
    authority = Authority(tmp_path)
    server = authority.issue("server", "localhost")
    config = NginxConfiguration(
        host,
        networks,
        back_port=port,
        header_kilobytes=kilobytes,
        connect_seconds=seconds,
        read_seconds=seconds * 7,
        resolver=resolver,
        resolver_valid_seconds=seconds,
        back_ca=str(authority.root) if tls else None,
        listen_address="127.0.0.1",
        listen_port=38080,
        mutual_tls=MutualTls(38443, str(server.certificate), str(server.key), str(authority.root)) if mutual else None,
        run_directory=str(tmp_path),
        access_log=str(tmp_path / "access.log"),
        error_log=str(tmp_path / "error.log"),
    )
    said = check(nginx, tmp_path, config)
    assert said.returncode == 0, said.stderr


TEXTS = ["back_host", "back_host_file", "back_ca", "back_certificate_name", "listen_address", "resolver", "health_path"]
TEXTS += ["user", "run_directory", "access_log", "error_log"]


@pytest.mark.parametrize("name", TEXTS)
@given(before=st.text(max_size=8), bad=st.sampled_from(list(" ;{}\"'`$\\\n\r\t#%")), after=st.text(max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_value_that_could_be_more_than_a_value_is_refused(name: str, before: str, bad: str, after: str) -> None:
    arguments = {"back_host": "back.internal", "front_networks": ["10.0.0.0/24"], name: f"{before}{bad}{after}"}
    with pytest.raises(ValueError, match=r"."):
        NginxConfiguration(**arguments)


@pytest.mark.parametrize("networks", [[], ["0.0.0.0/0"], ["::/0"], ["10.0.0.1/24"], ["10.0.0.0/24; allow all"]])
def test_the_front_must_be_named_and_is_not_the_whole_internet(networks: list[str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        NginxConfiguration("back.internal", networks)


def test_numbers_are_numbers_within_bounds() -> None:
    for given_value in (0, 65536, "443", True, 4.5):
        with pytest.raises(ValueError, match="back_port"):
            NginxConfiguration("back.internal", ["10.0.0.0/24"], back_port=given_value)


def test_the_generator_needs_python_alone(tmp_path: Path) -> None:
    import sys

    import nginx_configuration

    command = [sys.executable, "-I", "-S", nginx_configuration.__file__, "--back-host", "back.internal"]
    said = subprocess.run([*command, "--front-network", "10.0.0.0/24"], capture_output=True, text=True, check=True)
    assert said.stdout == build_configuration(NginxConfiguration("back.internal", ["10.0.0.0/24"]))
