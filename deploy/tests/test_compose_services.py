"""compose.yaml's services, each as the kernel runs a container, on a real PostgreSQL and behind Debian's nginx."""

from __future__ import annotations

import json
import re
import secrets as random
import shlex
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from containers.sandbox import run
from tegata_credentials.testing.outputs import remember

from .installation import SERVERS, Installation
from .person import Person
from .waiting import PATIENCE_SECONDS

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "run-in-containers.md"
TENANTS = re.search(r"```yaml\n(# tenants\.yaml\n.*?)```", PAGE.read_text(), re.DOTALL)
CALLBACK = "https://shop.example.com/callback"


@pytest.fixture(scope="module")
def up(migrated: Installation) -> Installation:
    """Everything that `docker compose up` starts, nginx when the servers are well."""
    if shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin") is None:
        pytest.skip("nginx is not installed")
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    order = list(migrated.file.starting_order())
    assert order == ["postgres", "bootstrap", "migrate", *SERVERS, "worker", "nginx"]
    for name in (*SERVERS, "worker"):
        # A server says for five seconds that it leaves; here nobody has to wait for that.
        migrated.start(name, **({"TEGATA_DRAIN_SECONDS": "1"} if name in SERVERS else {}))
    for name in (*SERVERS, "nginx"):
        if name == "nginx":
            migrated.start(name)
        migrated.until_well(name)
    return migrated


@pytest.fixture(scope="module")
def password(up: Installation) -> str:
    """The tenants of the page, applied as it says; and the password of its one user."""
    assert TENANTS is not None
    password = random.token_urlsafe(16)
    remember(password)
    applying = replace(
        up.container("operator", ["apply", "-f", "-"], ALICE_PASSWORD=password), given=TENANTS[1].encode()
    )
    done = run(applying, up.image.root, up.directory / "apply.log")
    assert done.status == 0, done.log
    return password


def person(up: Installation) -> Person:
    return Person(up.url, up.secrets / "tls_certificate", "shop", "web", CALLBACK)


def test_bootstrap_and_migration_may_run_again(migrated: Installation) -> None:
    again = migrated.run("bootstrap")
    assert again.status == 0, again.log
    assert set(re.findall(r"changed: \w+ (.*)", again.log)) == {"has a new password"}
    again = migrated.run("migrate")
    assert again.status == 0, again.log


def test_the_wall_stands(migrated: Installation) -> None:
    found = migrated.run("doctor")
    assert found.status == 0, found.log


def test_somebody_signs_in_through_nginx_at_both_servers(up: Installation, password: str) -> None:
    with person(up) as alice:
        issuer = alice.browser.get("/shop/.well-known/openid-configuration").json()["issuer"]
        assert issuer == f"{up.url}/shop"
        answer = alice.sign_in("alice", password, **{"x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"})
        known = alice.browser.get("/shop/userinfo", headers={"authorization": f"Bearer {answer['access_token']}"})
        assert known.status_code == 200
    served = up.running["nginx"].log
    for name in SERVERS:
        assert f"127.0.0.1:{up.ports[name]}\n" in served
    # What a client says of itself is nowhere believed: the address of the sign-in is nginx's peer.
    told = up.run("operator", ["audit", "shop", "--type", "sign_in", "--json"])
    assert told.status == 0, told.log
    assert '"127.0.0.1"' in told.log
    assert "203.0.113.9" not in told.log
    # Queries hold codes and states.
    assert "code=" not in served
    assert "state=" not in served


def test_the_page_ends_with_an_address_that_answers(up: Installation, password: str) -> None:
    (line,) = re.findall(r"^curl (.*)$", PAGE.read_text(), re.MULTILINE)
    there = {"deploy/compose/secrets": str(up.secrets), "https://localhost:8443": up.url}
    for name, here in there.items():
        assert name in line
        line = line.replace(name, here)
    done = subprocess.run(["curl", "-sS", "--fail", *shlex.split(line)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["issuer"] == f"{up.url}/shop"


def test_a_server_that_is_replaced_is_not_missed(up: Installation, password: str) -> None:
    leaving = up.running["tegata-1"]
    statuses: list[int] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    with person(up) as alice:
        leaving.signal(signal.SIGTERM)
        while leaving.status is None or len(statuses) < 20:
            assert time.monotonic() < deadline, (Counter(statuses), leaving.log)
            statuses.append(alice.browser.get("/shop/jwks").status_code)
        alice.sign_in("alice", password)
    assert set(statuses) == {200}
    assert leaving.status == 0, leaving.log
    assert '"event": "stopped"' in leaving.log
    assert not up.is_healthy("tegata-1")
    up.start("tegata-1", TEGATA_DRAIN_SECONDS="1")
    up.until_well("tegata-1")


def test_the_worker_works_without_a_network_and_ends_when_told(up: Installation) -> None:
    worker = up.running["worker"]
    up.until(lambda: '"event": "working"' in worker.log, "worker")
    assert worker.stop() == 0, worker.log
    assert '"event": "stopped"' in worker.log
    once = up.run("worker", ["worker", "--once"])
    assert once.status == 0, once.log
    assert "error" not in once.log


def test_without_their_database_servers_stay_and_say_that_they_are_not_well(up: Installation) -> None:
    up.postgres.stop()
    try:
        for name in SERVERS:
            up.until(lambda name=name: not up.is_healthy(name), name)  # type: ignore[misc]
            lives = up.run(name, ["health", "--path", "/livez", "--timeout", "50"])
            assert lives.status == 0, lives.log
    finally:
        up.postgres.start()
    for name in SERVERS:
        up.until_well(name)
