"""The laboratory stands on its own: it could otherwise repeat a fault of what it is there to test."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from tegata_credentials import testing
from tegata_credentials.testing import Laboratory

LOOK = """
import sys
import tegata_credentials
before = set(sys.modules)
import tegata_credentials.testing
ours = ("pytest", "tegata", "tegata_verify", "tegata_credentials", "azure", "msal", "botocore", "boto3", "asyncpg")
print(*sorted(name for name in set(sys.modules) - before if name.split(".")[0] in ours))
"""


def test_it_needs_no_test_framework_and_none_of_the_libraries_it_judges() -> None:
    finished = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, timeout=300)
    others = [name for name in finished.stdout.split() if not name.startswith("tegata_credentials.testing")]
    assert others == []


def test_its_modules_import_each_other_and_nothing_of_the_kit() -> None:
    # Not a part of the laboratory: a store for tests of rotation, which is one of the kit's own kind.
    modules = [path for path in Path(testing.__file__).parent.glob("*.py") if path.name != "version_store.py"]
    imports = [
        node
        for module in modules
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom | ast.Import)
    ]
    assert len(modules) > 5
    assert {node.level for node in imports if isinstance(node, ast.ImportFrom)} <= {0, 1}
    absolute = [node.module or "" for node in imports if isinstance(node, ast.ImportFrom) and node.level == 0]
    absolute += [alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in absolute if name.startswith("tegata")] == []


def test_it_ends_without_leaving_files_or_threads() -> None:
    with Laboratory() as lab:
        files = lab.files
        assert files.is_dir()
    assert not files.exists()
    assert not lab.is_running
