"""`make demo-plan-b` as a person meets it: one address, a choice of users, what is allowed and refused, Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from chain import free_port

HERE = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
PATIENCE = 120_000  # milliseconds
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 800}


def missing(what: str) -> None:
    if os.environ.get("TEGATA_ACCEPTANCE_COMPLETE"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is not installed")


@dataclass
class Demo:
    """The running demonstration: where it said one should go."""

    url: str
    nginx_url: str

    def log_in(self, name: str) -> httpx2.Client:
        """Return a browser without JavaScript, in which `name` was chosen."""
        client = httpx2.Client(base_url=self.url, trust_env=False, timeout=60, follow_redirects=True)
        page = client.get("/")
        assert f'value="{name}"' in page.text
        assert client.post("/oauth2/login", data={"name": name, "next": "/"}).url.path == "/"
        return client


def read_until_it_is_open(process: subprocess.Popen[str]) -> Demo:
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Ctrl-C" in line:
            break
    found = re.search(r"open +(http\S+)/\n.*nginx: (http\S+)/me", said, re.DOTALL)
    assert found is not None, said
    return Demo(found[1], found[2])


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """It ends as by Ctrl-C, and then nothing may be left."""
    if shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
        missing("nginx")
    # Started by root, nginx gives its rights away and must still be able to enter.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        with subprocess.Popen(
            # A port that is kept: at the end nobody else must answer there.
            [sys.executable, "-m", "demo", "--port", str(free_port())],
            cwd=HERE,
            env={**os.environ, "TMPDIR": directory, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                running = read_until_it_is_open(process)
                yield running
                process.send_signal(signal.SIGINT)
                said, _ = process.communicate(timeout=120)
            finally:
                process.kill()
        assert (process.returncode, said.strip()) == (0, "ended; nothing is left")
        assert os.listdir(directory) == []
        for url in (running.url, running.nginx_url):
            with pytest.raises(httpx2.ConnectError):
                httpx2.get(url, trust_env=False, timeout=60)


def test_without_a_session_there_is_a_choice_of_users(demo: Demo):
    page = httpx2.get(demo.url, trust_env=False, timeout=60, follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/oauth2/login")
    wrong = httpx2.post(f"{demo.url}/oauth2/login", data={"name": "root"}, trust_env=False, timeout=60)
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)


@pytest.mark.parametrize(("name", "roles", "status"), [("ann", ["admin"], 200), ("ben", [], 403)])
def test_the_report_is_for_one_of_them(demo: Demo, name: str, roles: list[str], status: int):
    with closing(demo.log_in(name)) as browser:
        profile = browser.get("/me").json()
        assert (profile["email"], profile["roles"]) == (f"{name}@example.com", roles)
        assert browser.get("/admin/report").status_code == status
        assert browser.post("/sign-out").url.path == "/oauth2/login"
        assert "set-cookie" not in browser.get("/").headers


def test_past_the_load_balancer_nobody_is_known(demo: Demo):
    refused = httpx2.get(f"{demo.nginx_url}/me", trust_env=False, timeout=60)
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="plan-b"')


def overflow(page: Any) -> int:
    """By how many pixels the page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.mark.browser
def test_the_page_shows_who_one_is_and_what_was_refused(demo: Demo):
    from playwright.sync_api import sync_playwright

    if shutil.which(CHROMIUM) is None:
        missing("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE
        )
        page = browser.new_page(viewport=PHONE)
        page.set_default_timeout(PATIENCE)
        policy: list[str] = []
        page.on("console", lambda line: policy.append(line.text) if "Policy" in line.text else None)
        page.goto(demo.url)
        assert overflow(page) == 0
        page.click("button[value=ben]")
        page.wait_for_selector("body[data-done]")
        assert "ben@example.com" in page.inner_text("#profile")
        badges = ["200 allowed", "403 refused", "200 allowed", "400 refused"]
        assert page.locator(".badge").all_inner_texts() == badges
        assert "Still you" in page.locator("li").nth(2).inner_text()
        assert overflow(page) == 0
        page.evaluate("document.documentElement.style.fontSize = '200%'")
        assert overflow(page) == 0
        page.set_viewport_size(DESKTOP)
        assert overflow(page) == 0
        page.click("text=Sign out")
        page.wait_for_selector("button[value=ann]")
        assert policy == []
        browser.close()


def test_without_nginx_it_says_so():
    command = [sys.executable, "-m", "demo", "--nginx", "nginx-that-is-not-there"]
    ran = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == "plan-b: nginx is not installed, and the chain goes through it: apt-get install nginx\n"
