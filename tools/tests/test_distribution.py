"""With several workers, the files that take long are begun first, and each file stays with one worker."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from .inner_run import ROOT, run_pytest

TOLD = "def test_{name}(worker_id):\n    print('{name}', worker_id)\n"


def long() -> tuple[str, ...]:
    """Read which paths the root's conftest.py calls long."""
    for node in ast.parse((ROOT / "conftest.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LONG":
            return tuple(ast.literal_eval(node.value))
    raise AssertionError("conftest.py does not say any more what takes long")


@pytest.mark.parametrize("path", long())
def test_what_is_said_to_take_long_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_files_that_take_long_come_before_those_of_many_tests(tmp_path: Path) -> None:
    names = ["a_first", "b_many", *(f"c_other_{number}" for number in range(4))]
    for name in names:
        times = 9 if name == "b_many" else 1
        (tmp_path / f"test_{name}.py").write_text("".join(TOLD.format(name=f"{name}_{n}") for n in range(times)))
    last_by_count = tmp_path / long()[0]
    last_by_count.parent.mkdir(parents=True)
    last_by_count.write_text(TOLD.format(name="long"))
    done = run_pytest(tmp_path, "-v", workers=1)
    passed = [line.rpartition("::")[2].strip() for line in done.stdout.splitlines() if " PASSED " in line]
    assert passed[:2] == ["test_long", "test_b_many_0"], done.stdout
    assert len(passed) == 15


def test_tests_of_one_name_are_refused(tmp_path: Path) -> None:
    twice = "def test_path(): ...\n"
    same = (
        "import pytest\ndef pytest_pycollect_makeitem(collector, name, obj):\n    if name == 'test_path':\n"
        "        return [pytest.Function.from_parent(collector, name=name) for _ in range(2)]\n"
    )
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "conftest.py").write_text(same)
    (tmp_path / "inner" / "test_paths.py").write_text(twice)
    done = run_pytest(tmp_path, "-q")
    assert "several tests have one name: inner/test_paths.py::test_path" in done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
