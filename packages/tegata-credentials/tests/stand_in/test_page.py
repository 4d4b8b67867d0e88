"""The page's tests are run as a reader would: one file, pytest in a process of its own. So are the examples."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tegata_credentials import policies
from tegata_credentials.testing import secrets_manager
from tegata_credentials.testing.secrets_manager import Cut, Duplicated, Fault

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "try-against-a-stand-in.md"
INSIDE = ("contract", "server")  # what runs in moto's process
MODULES = [module.name for module in pkgutil.iter_modules(secrets_manager.__path__) if module.name not in INSIDE]


def test_the_tests_on_the_page_pass(tmp_path: Path) -> None:
    code = "\n\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE))
    (tmp_path / "test_page.py").write_text(code)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "test_page.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


def test_the_page_names_every_fault() -> None:
    kinds = set(get_args(Fault))
    public = {name: getattr(secrets_manager, name) for name in secrets_manager.__all__}
    faults = [name for name, thing in public.items() if thing in kinds - {Cut, Duplicated} or type(thing) in kinds]
    assert len(faults) >= 11
    assert [name for name in faults if f"`{name}" not in PAGE.read_text()] == []


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_are_true(name: str) -> None:
    found = doctest.testmod(importlib.import_module(f"{secrets_manager.__name__}.{name}"))
    assert found.failed == 0


def test_each_public_class_has_an_example() -> None:
    public = [thing for name in secrets_manager.__all__ if isinstance(thing := getattr(secrets_manager, name), type)]
    lacking = [thing.__name__ for thing in public if ">>> " not in (thing.__doc__ or "")]
    assert lacking == []


def test_the_examples_of_the_policies_are_true() -> None:
    assert doctest.testmod(policies).failed == 0
