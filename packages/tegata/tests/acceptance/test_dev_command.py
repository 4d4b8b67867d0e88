"""`tegata dev` as a process: its file, its data, its end, and its advice."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .contract import parse_dev, read_dev
from .dev_server import STOP_SECONDS, Running, clean_environment, make_home, mode_of, processes_of, remove_home, start
from .relying_party import Browser, RelyingParty, plain_client, success


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A state directory for one test; at the end nothing may run in it."""
    home = make_home()
    yield home
    left = wait_until_nothing_runs(home)
    remove_home(home)
    assert left == []


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """A server for the tests of this module that leave it as it is."""
    home = make_home()
    server = start(home)
    yield server
    server.stop()
    remove_home(home)


def wait_until_nothing_runs(home: Path) -> list[str]:
    deadline = time.monotonic() + STOP_SECONDS
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def sign_in(server: Running, refresh_token: str | None = None) -> str:
    """Sign in at `demo` and give a refresh token, or use the one given."""
    with plain_client() as http:
        tenant = server.dev.tenant("demo")
        web = RelyingParty.discover(tenant, "web", http)
        if refresh_token is not None:
            return str(success(web.refresh(refresh_token))["refresh_token"])
        browser = Browser(server.dev.base_url)
        try:
            return str(web.tokens(browser, tenant.users[0], scope="openid offline_access")["refresh_token"])
        finally:
            browser.close()


def test_dev_json_is_private_and_complete(home: Path) -> None:
    """The file holds passwords and a private key."""
    assert mode_of(home / "dev.json") == 0o600
    dev = read_dev(home)
    assert {tenant.name for tenant in dev.tenants} == {"demo", "other"}
    for tenant in dev.tenants:
        assert tenant.issuer == f"{dev.base_url}/{tenant.name}"
        methods = {suffix: tenant.client(suffix).token_endpoint_auth_method for suffix in ("web", "post", "spa", "jwt")}
        assert methods == {
            "web": "client_secret_basic",
            "post": "client_secret_post",
            "spa": "none",
            "jwt": "private_key_jwt",
        }
        assert tenant.client("service").grant_types == ("client_credentials",)
        assert tenant.client("spa").client_secret is None
        for suffix in methods:
            wanted = {"http://127.0.0.1:9000/callback", "http://localhost:9000/callback"}
            assert wanted <= set(tenant.client(suffix).redirect_uris)
    demo = dev.tenant("demo")
    roles = {role for user in demo.users for role in user.roles}
    assert roles == {"researcher", "developer", "evaluator", "viewer", "admin"}
    for service in ("beer-development-service", "fermentation-research-service"):
        assert any(service in resource for resource in demo.resources)


def test_the_server_listens_on_loopback_alone(running: Running) -> None:
    port = f"{int(running.dev.base_url.rsplit(':', 1)[1]):04X}"
    listening = [
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[1].endswith(":" + port) and line.split()[3] == "0A"
    ]
    assert listening
    for address in listening:
        assert address.split(":")[0] in {"0100007F", "00000000000000000000000001000000"}


def test_state_directory_is_private(running: Running) -> None:
    """Whatever else the directory holds, no secret in it is readable by others."""
    exposed = [
        path
        for path in running.home.iterdir()
        if path.is_file() and path.suffix in {".json", ".key", ".pem"} and mode_of(path) & 0o077
    ]
    assert exposed == []


def stopped_cleanly(server: Running, number: signal.Signals) -> None:
    status = server.stop(number)
    assert status in {0, 128 + number, -number}
    assert wait_until_nothing_runs(server.home) == []
    assert "Traceback" not in server.output()


def test_the_next_start_finds_the_data_after_a_clean_end_and_after_a_kill(own_home: Path) -> None:
    """SIGTERM ends server and database; SIGKILL leaves a database behind that must not be in the way."""
    first = start(own_home)
    before = (own_home / "dev.json").read_text()
    refresh_token = sign_in(first)
    stopped_cleanly(first, signal.SIGTERM)
    second = start(own_home)
    assert secrets_in(own_home / "dev.json") == secrets_in_text(before)
    refresh_token = sign_in(second, refresh_token)
    second.stop(signal.SIGKILL)
    third = start(own_home)
    assert secrets_in(own_home / "dev.json") == secrets_in_text(before)
    sign_in(third, refresh_token)
    stopped_cleanly(third, signal.SIGTERM)


def test_reset_starts_over(own_home: Path) -> None:
    first = start(own_home)
    refresh_token = sign_in(first)
    stopped_cleanly(first, signal.SIGINT)
    second = start(own_home, "--reset")
    with pytest.raises(AssertionError, match=r"invalid_grant|invalid_client"):
        sign_in(second, refresh_token)
    sign_in(second)
    second.stop()


def secrets_in(path: Path) -> list[tuple[str, str | None]]:
    return secrets_in_text(path.read_text())


def secrets_in_text(text: str) -> list[tuple[str, str | None]]:
    """What a person may have written down: passwords and client secrets."""
    tenants = parse_dev(text).tenants
    users = [(user.username, user.password) for tenant in tenants for user in tenant.users]
    return [*users, *((client.client_id, client.client_secret) for tenant in tenants for client in tenant.clients)]


def test_the_printed_curl_lines_work_when_pasted(running: Running) -> None:
    """Three lines, run by bash as they stand."""
    if shutil.which("curl") is None:
        pytest.skip("needs Debian package curl")
    text = running.output().replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ") for line in text.splitlines() if re.match(r"\s*(\$ )?curl ", line)]
    assert len(lines) >= 3, text
    environment = clean_environment(running.home)
    for line in lines:
        done = subprocess.run(
            ["bash", "-c", line], capture_output=True, text=True, timeout=180, check=False, env=environment
        )
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        assert done.stdout.strip(), line
        assert '"error"' not in done.stdout, f"{line}\n{done.stdout}"


def test_what_is_printed_names_issuers_users_and_clients(running: Running) -> None:
    text = running.output()
    demo = running.dev.tenant("demo")
    assert demo.issuer in text
    assert demo.users[0].username in text
    assert "demo-web" in text
