"""The README's own lines, run as they stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .contract import Dev

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_the_round_trip_of_the_readme_works_when_pasted(name: str, dev: Dev, home: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("needs Debian package curl")
    block = re.search(r"```sh\n(secret=.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    lines = block[1].replace("http://127.0.0.1:8080", dev.base_url).replace('".tegata/dev.json"', f'"{home}/dev.json"')
    done = subprocess.run(["bash", "-euc", lines], capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    told = json.JSONDecoder()
    introspection, end = told.raw_decode(done.stdout)
    experiments, _ = told.raw_decode(done.stdout[end:].strip())
    assert introspection["active"] is True
    assert introspection["scope"] == "read"
    assert isinstance(experiments, list)


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_everything_that_the_readme_links_to_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in target]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "README.ja.md"])
def test_every_make_target_of_the_readme_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    used = set(re.findall(r"^make ([a-z]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
    assert used
    assert {target for target in used if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()
