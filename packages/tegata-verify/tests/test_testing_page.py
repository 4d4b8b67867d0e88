"""The page about tests of one's own: its files are pasted into a directory, and pytest runs them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tegata_verify.testing import Flaw, TestIssuer, Wish

PAGE = (Path(__file__).parents[3] / "docs/how-to/test-your-service.md").read_text()


def test_the_tests_of_the_page_pass(tmp_path):
    for name, content in re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(content)
    assert len(list(tmp_path.iterdir())) == PAGE.count("```python")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", str(tmp_path)]
    # Plugins that the page does not need take longer to load than its tests take.
    environment = {**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"\b19 passed", done.stdout), done.stdout[-300:]


def test_each_wish_and_each_flaw_is_explained():
    wishes = re.findall(r"^\| (`[^|]+) \|", PAGE.partition("| argument |")[2].partition("\n\n")[0], re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(wishes)) == list(Wish.__annotations__)
    flaws = re.findall(r"^\| `(\w+)` \|", PAGE.partition("| flaw |")[2].partition("\n\n")[0], re.MULTILINE)
    assert flaws == [flaw.value for flaw in Flaw]


def test_the_defaults_in_the_page_are_those_of_the_issuer():
    issuer = TestIssuer(clock=lambda: 1_700_000_000)
    claims = issuer.introspect(issuer.mint())
    defaults = dict(re.findall(r"^\| `(\w+)` \| `?([\w-]+)`? \|", PAGE, re.MULTILINE))
    assert claims["sub"] == defaults["subject"]
    assert claims["exp"] - claims["iat"] == int(defaults["lifetime_seconds"])
