"""The figures of scenarios and attacks stand at the end of a run, from every worker and of tests that failed too."""

from __future__ import annotations

from pathlib import Path

import pytest

from .inner_run import run_pytest

ONE = """
def test_a_scenario(count, attacked):
    count("expiry under load: asyncpg", logins=40, rejected_logins=0)
    attacked("upsert", attempts=2, successes=0)
"""
TWO = """
def test_another(count, attacked):
    count("fork", logins=1)
    attacked("upsert", attempts=3, successes=1)
    attacked("copy", attempts=4, successes=0)
    assert False
"""


@pytest.mark.parametrize("workers", [0, 2], ids=["alone", "workers"])
def test_figures_of_all_workers_are_printed_and_added_up(tmp_path: Path, workers: int) -> None:
    (tmp_path / "test_one.py").write_text(ONE)
    (tmp_path / "test_two.py").write_text(TWO)
    done = run_pytest(tmp_path, "-q", workers=workers)
    lines = done.stdout.splitlines()
    assert "1 failed, 1 passed" in lines[-1]
    told = lines[next(n for n, line in enumerate(lines) if " counted " in line) :]
    assert told[1:3] == ["expiry under load: asyncpg: 40 logins, 0 rejected logins", "fork: 1 logins"]
    assert "attacks on the tenant wall" in told[3]
    assert told[4:7] == [
        "copy: 4 attempts, 0 successes",
        "upsert: 5 attempts, 1 successes",
        "all: 9 attempts, 1 successes",
    ]


SKIPPED = """
import pytest

@pytest.fixture
def server():
    pytest.skip("PostgreSQL 15 is not installed")

def test_with_a_server(server): ...

@pytest.mark.skipif(True, reason="pgbouncer is not installed")
def test_with_a_pooler(): ...

def test_in_the_middle():
    pytest.skip("nginx is not installed: apt-get install nginx")

@pytest.mark.skipif(True, reason="only root gives rights up")
def test_as_root(): ...

@pytest.mark.xfail(reason="what is not installed is not installed", strict=True)
def test_what_is_known(): assert False
"""


@pytest.mark.parametrize(
    ("complete", "ended"),
    [("", "4 skipped, 1 xfailed"), ("1", "1 skipped, 1 xfailed")],
    ids=["not complete", "complete"],
)
def test_where_everything_is_there_nothing_is_skipped_for_want_of_it(tmp_path: Path, complete: str, ended: str) -> None:
    (tmp_path / "test_skipped.py").write_text(SKIPPED)
    done = run_pytest(tmp_path, "-q", TEGATA_ACCEPTANCE_COMPLETE=complete)
    assert ended in done.stdout.splitlines()[-1], done.stdout
    assert done.returncode == (1 if complete else 0)
    for what in ("PostgreSQL 15", "pgbouncer", "nginx") if complete else ():
        assert f"{what} is not installed" in done.stdout
    assert "says that everything is there" in done.stdout or not complete
