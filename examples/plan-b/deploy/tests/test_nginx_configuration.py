"""The generator: nginx takes what it writes, and it writes nothing that somebody slipped in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nginx_configuration
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nginx_configuration import _NUMBERS, MutualTls, NginxConfiguration, build_configuration

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


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What a configuration names and nginx reads when it checks it."""
    directory = tmp_path_factory.mktemp("nginx")
    authority = Authority(directory)
    server = authority.issue("server", "localhost")
    (directory / "back_host.conf").write_text('set $back_host "back.internal";\n')
    return SimpleNamespace(
        directory=directory,
        root=str(authority.root),
        host=str(directory / "back_host.conf"),
        mutual=MutualTls(38443, str(server.certificate), str(server.key), str(authority.root)),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    host=HOSTS,
    networks=st.lists(NETWORKS, min_size=1, max_size=4, unique=True),
    numbers=st.fixed_dictionaries({}, optional={name: st.integers(*ends) for name, ends in _NUMBERS.items()}),
    tls=st.booleans(),
    mutual=st.booleans(),
    back=st.sampled_from(["resolved", "from a file", "kept"]),
    name=st.none() | HOSTS,
    listen=st.sampled_from(["127.0.0.1", "::1"]),
    resolver=st.sampled_from(["169.254.169.253", "fd00:ec2::253"]),
    users=st.sampled_from([(None, None), ("nobody", "nogroup"), ("root", None)]),
)
def test_nginx_takes_every_configuration(
    nginx, files, host, networks, numbers, tls, mutual, back, name, listen, resolver, users
) -> None:
    config = NginxConfiguration(
        # A name that is kept is looked up at once, by nginx's own check too.
        "localhost" if back == "kept" else host,
        networks,
        **{
            **numbers,
            "listen_port": 38080,
            "back_keepalive": 4 if back == "kept" else 0,
            "back_host_file": files.host if back == "from a file" else None,
        },
        back_ca=files.root if tls else None,
        back_certificate_name=name,
        listen_address=listen,
        resolver=resolver,
        mutual_tls=files.mutual if mutual else None,
        user=users[0],
        group=users[1],
        run_directory=str(files.directory),
        access_log=str(files.directory / "access.log"),
        error_log=str(files.directory / "error.log"),
    )
    said = check(nginx, files.directory, config)
    assert said.returncode == 0, said.stderr


TEXTS = ["back_host", "back_host_file", "back_ca", "back_certificate_name", "listen_address", "resolver", "health_path"]
TEXTS += [
    "user",
    "group",
    "run_directory",
    "access_log",
    "error_log",
    "front_networks",
    "certificate",
    "key",
    "client_ca",
]


def configured(name: str, value: object) -> NginxConfiguration:
    """A configuration with one value in its place."""
    if name in ("certificate", "key", "client_ca"):
        files = {"certificate": "/tls/a.pem", "key": "/tls/a.key", "client_ca": "/tls/b.pem", name: value}
        return NginxConfiguration("back.internal", ["10.0.0.0/24"], mutual_tls=MutualTls(8443, **files))
    given = {"back_host": "back.internal", "front_networks": ["10.0.0.0/24"], "user": "nginx"}
    return NginxConfiguration(**{**given, name: [value] if name == "front_networks" else value})


@pytest.mark.parametrize("name", TEXTS)
@given(
    before=st.text(max_size=8),
    bad=st.sampled_from(list(" ;{}\"'`$\\\n\r\t#%\0\u00a0\u2028")),
    after=st.text(max_size=8),
)
@settings(max_examples=25, deadline=None)
def test_a_value_that_could_be_more_than_a_value_is_refused(name: str, before: str, bad: str, after: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        configured(name, f"{before}{bad}{after}")


@pytest.mark.parametrize("name", TEXTS)
@given(value=st.text(max_size=40) | st.text("ab0/.:-_~", max_size=20) | st.sampled_from(["10.0.0.0/8", "::1", "/a/b"]))
@settings(max_examples=30, deadline=None)
def test_what_is_taken_is_one_word_to_nginx(name: str, value: str) -> None:
    try:
        configured(name, value)
    except ValueError:
        return
    assert re.fullmatch(r"[A-Za-z0-9./:_~-]+", value)


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", ["/good/value\n", "good\n", "10.0.0.1\n", "", 7, b"/bytes", ["/a"]], ids=repr)
def test_neither_line_ends_at_the_end_nor_other_types_are_taken(name: str, value: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        configured(name, value)


def test_parts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="mutual_tls"):
        NginxConfiguration(
            "back.internal", ["10.0.0.0/24"], listen_port=8443, mutual_tls=MutualTls(8443, "/a", "/b", "/c")
        )
    with pytest.raises(ValueError, match="group"):
        NginxConfiguration("back.internal", ["10.0.0.0/24"], group="nogroup")
    with pytest.raises(ValueError, match="back_keepalive"):
        NginxConfiguration("back.internal", ["10.0.0.0/24"], back_host_file="/etc/back.conf", back_keepalive=4)


@pytest.mark.parametrize("networks", [[], ["0.0.0.0/0"], ["::/0"], ["10.0.0.1/24"], ["10.0.0.0/24; allow all"]])
def test_the_front_must_be_named_and_is_not_the_whole_internet(networks: list[str]) -> None:
    with pytest.raises(ValueError, match=r"."):
        NginxConfiguration("back.internal", networks)


def test_numbers_are_numbers_within_bounds() -> None:
    for given_value in (0, 65536, "443", True, 4.5):
        with pytest.raises(ValueError, match="back_port"):
            NginxConfiguration("back.internal", ["10.0.0.0/24"], back_port=given_value)


def test_capitals_of_a_generated_name_are_made_small() -> None:
    name = "internal-CdkSc-Alb2-1XYZ.ap-northeast-1.elb.amazonaws.com"
    made = NginxConfiguration(name, ["10.0.0.0/24"], back_certificate_name="Back.Example.com")
    assert (made.back_host, made.back_certificate_name) == (name.lower(), "back.example.com")


def run_generator(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with nothing but Python's own library."""
    command = [sys.executable, "-I", "-S", nginx_configuration.__file__, "--back-host", "back.internal"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_the_generator_needs_python_alone() -> None:
    said = run_generator("--front-network", "10.0.0.0/24")
    assert said.stdout == build_configuration(NginxConfiguration("back.internal", ["10.0.0.0/24"]))
    mutual = MutualTls(8443, "/tls/a.pem", "/tls/a.key", "/tls/b.pem")
    said = run_generator(
        "--front-network", "10.0.0.0/24", "--mutual-tls", "8443", "/tls/a.pem", "/tls/a.key", "/tls/b.pem"
    )
    assert said.stdout == build_configuration(NginxConfiguration("back.internal", ["10.0.0.0/24"], mutual_tls=mutual))
    said = run_generator(
        "--front-network", "10.0.0.0/24", "--back-certificate-name", "app.example.com", "--back-ca", "/tls/ours.pem"
    )
    certified = {"back_certificate_name": "app.example.com", "back_ca": "/tls/ours.pem"}
    assert said.stdout == build_configuration(NginxConfiguration("back.internal", ["10.0.0.0/24"], **certified))


def test_the_generator_says_what_it_does_not_take_and_prints_nothing() -> None:
    said = run_generator("--front-network", "10.0.0.0/24; allow all")
    assert (said.returncode, said.stdout) == (2, "")
    assert "Traceback" not in said.stderr
