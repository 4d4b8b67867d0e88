"""What the package may import, and what it depends on."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tegata_verify

MODULES = sorted(Path(tegata_verify.__file__).parent.rglob("*.py"))

ALSO = {
    "alb_keys": {"cryptography"},
    "client_certificates": {"cryptography"},
    "alb_testing": {"cryptography"},
    "alb_tokens": {"cryptography"},
    "holders": {"cryptography"},
    "django": {"django"},
    "fastapi": {"fastapi"},
    "flask": {"flask"},
    "policy_file": {"yaml"},
    "requests": {"requests"},
}
"""What single modules may import beside what all may."""


def imported(module: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found - set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_imports_only_what_it_may(module):
    assert imported(module) <= {"tegata_verify", "joserfc", "httpx2"} | ALSO.get(module.stem, set())


def test_the_package_works_without_fastapi():
    code = "import sys; sys.modules['fastapi'] = None; import tegata_verify, tegata_verify.testing"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
