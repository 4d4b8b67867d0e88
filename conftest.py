"""What every test may use: figures that are printed at the end of the run; a search of all that was put out; and no
skip where nothing may be missing.

It stands at the top because with several workers only this file is read by the process that prints.
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

from tegata_credentials.testing.outputs import VARIABLE, Outputs, remembered

# What Hypothesis itself does where it knows a build server: the same examples in each run, and no limit of time for one
# example or for making ten, which a busy machine would break.
settings.register_profile("default", settings.get_profile("ci"))
settings.load_profile("default")

COMPLETE = "TEGATA_ACCEPTANCE_COMPLETE"
"""Set where everything that tests drive is there: a skip for want of it would hide a fault."""
_ABSENT = "is not installed"
_PROPERTY = "counted"
_ATTACKED = "attacked"

LONG = (
    # The longest take a minute or two of one core, the last of those named one by one a quarter of a minute.
    "packages/tegata/tests/postgres/test_doctor.py",
    "packages/tegata/tests/postgres/test_query_plans.py",
    "packages/tegata/tests/live/test_live_rotations.py",
    "packages/tegata/tests/postgres/test_upgrades.py",
    "packages/tegata-credentials/tests/rotation_histories/test_stories.py",
    "packages/tegata-credentials/tests/rotation_histories/test_alternating_users.py",
    "packages/tegata/tests/postgres/test_bootstrap_drift.py",
    "packages/tegata-credentials/tests/rotation_histories/test_secrets_manager.py",
    "packages/tegata-credentials/tests/live/",
    "packages/tegata-credentials/tests/how_to/",
    "packages/tegata/tests/attacks/test_recovery.py",
    "packages/tegata/tests/postgres/test_bootstrap.py",
    "packages/tegata/tests/live/",
    "packages/tegata/tests/postgres/test_migrate_crash.py",
    "packages/tegata-credentials/tests/adapters/",
    "packages/tegata-credentials/tests/rotation_histories/",
    "infra/tests_local/test_service_processes.py",
    "packages/tegata-credentials/tests/lambda_artefact/",
    "deploy/tests/test_chart_pods.py",
    "deploy/tests/test_compose_services.py",
    "infra/tests_local/",
    "deploy/tests/",
    "deploy/azure/tests/test_processes.py",
    "packages/tegata/tests/postgres/test_login_pairs.py",
    "packages/tegata/tests/acceptance/",
    "packages/tegata/tests/postgres/test_migrate.py",
    "packages/tegata/tests/cli/",
    "packages/tegata/tests/postgres/",
    "packages/tegata/tests/attacks/",
    "tools/tests/test_summary.py",
    "tools/tests/test_outputs.py",
    "tools/tests/test_distribution.py",
    "packages/tegata-credentials/tests/test_outputs_searched.py",
    "deploy/azure/tests/test_checkov.py",
    "examples/",
    "packages/tegata-credentials/tests/rotation/",
    "packages/tegata-credentials/tests/scenarios/",
    "packages/tegata-credentials/tests/secret_sources/",
    "packages/tegata-credentials/tests/stand_in/",
    "packages/tegata/tests/web/",
    "packages/tegata-verify/tests/hostile/",
    "packages/tegata-verify/tests/test_swagger_ui.py",
    "packages/tegata-verify/tests/front_ends/",
    "packages/tegata/tests/flows/test_anything_sent.py",
    "packages/tegata-credentials/tests/secret_service/",
    "deploy/azure/tests/",
)
"""What takes long, although it may be a single test: files, and folders of such files, the longest first."""

_CHAIN = "examples/plan-b/deploy/tests/"
TOGETHER = {
    f"{_CHAIN}test_{name}.py": f"{_CHAIN}of_the_chain"
    for name in ("chain", "hostile_tokens", "refresh_back_host", "under_load")
}
"""Files that one process tests, for they share what takes longer to start than they do; and a name for them."""


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Print figures of this test in the summary: `count("expiry under load", logins=40, errors=0)`."""

    def add(what: str, /, **figures: object) -> None:
        told = ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in figures.items())
        record_property(_PROPERTY, f"{what}: {told}")

    return add


@pytest.fixture
def attacked(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Add to the table of attacks in the summary: `attacked("upsert", attempts=12, successes=0)`."""

    def add(kind: str, /, *, attempts: int, successes: int) -> None:
        record_property(_ATTACKED, f"{kind}: {attempts} {successes}")

    return add


class Searched:
    """Everything the tests put out, searched at the end for every secret that was generated meanwhile."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="tegata-outputs-"))
        self.outputs = Outputs()
        self.secrets: list[str] = []
        self.found: list[int] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a test printed and logged, of tests that passed too, and how it failed."""
        for _, text in report.sections:
            self.outputs.add(text)
        self.outputs.add(report.longreprtext)
        self.outputs.add(str(report.user_properties))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Search. A secret that was found fails the run, whatever the tests said."""
        self.outputs.add_kept(self.directory)
        self.secrets = remembered(self.directory)
        self.found = self.outputs.leaks(self.secrets)
        shutil.rmtree(self.directory, ignore_errors=True)
        if self.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was searched for and found; never what it was."""
        if self.secrets:
            terminalreporter.section("secrets in outputs")
            terminalreporter.line(
                f"{len(self.secrets)} secrets were generated, {len(self.found)} of them found in "
                f"{self.outputs.characters} characters of logs, reports and errors"
            )


class LongestFirst(LoadFileScheduling):
    """Gives whole files to workers, those that take long first: one of them at the end would leave the others idle."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return TOGETHER.get(file, file)

    def _assign_work_unit(self, node: WorkerController) -> None:
        # Within one rank the order stays what it was: files of many tests first.
        self.workqueue.move_to_end(min(self.workqueue, key=_rank), last=False)
        super()._assign_work_unit(node)


def _rank(file: str) -> int:
    return next((rank for rank, long in enumerate(LONG) if file.startswith(long)), len(LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongestFirst | None:
    """Choose the order in which files are given to workers, where files are given at all."""
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse tests of one name: pytest-xdist would run the first of them alone, and say nothing."""
    names = Counter(item.nodeid for item in items)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise pytest.UsageError(f"several tests have one name: {', '.join(twice)}")


def pytest_collection_finish() -> None:
    """Take what stays until the end, modules and thousands of tests, out of what is searched for garbage."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail what is skipped because something "is not installed", where everything is said to be there."""
    report = yield
    if report.skipped and os.environ.get(COMPLETE) and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if _ABSENT in reason:
            report.outcome = "failed"
            report.longrepr = f"{reason}, and {COMPLETE} says that everything is there"
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Keep bytecode. Search once, where all reports arrive: in the process that started the workers."""
    # Hundreds of processes are started: where nothing is kept, each of them compiles what it imports once more. A shell
    # that asks for that, as those of many container images do, means programs that start once.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    if not hasattr(config, "workerinput") and VARIABLE not in os.environ:
        searched = Searched()
        os.environ[VARIABLE] = str(searched.directory)
        config.add_cleanup(lambda: os.environ.pop(VARIABLE, None))
        config.pluginmanager.register(searched)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, those of one subject together, whichever worker they come from; those of attacks as sums."""
    rows: dict[str, list[str]] = {}
    attacks: dict[str, tuple[int, int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            # A report at the end of the teardown repeats what the test itself has told.
            if not isinstance(report, pytest.TestReport) or report.when != "teardown":
                continue
            for name, value in report.user_properties:
                what, _, figures = str(value).rpartition(": ")
                if name == _PROPERTY:
                    rows.setdefault(what, []).append(figures)
                elif name == _ATTACKED:
                    attempts, successes = (int(figure) for figure in figures.split())
                    before = attacks.get(what, (0, 0))
                    attacks[what] = before[0] + attempts, before[1] + successes
    if rows:
        terminalreporter.section("counted")
        for what in sorted(rows):
            for figures in rows[what]:
                terminalreporter.line(f"{what}: {figures}")
    if attacks:
        terminalreporter.section("attacks on the tenant wall")
        for kind, (attempts, successes) in [*sorted(attacks.items()), ("all", _sum(attacks))]:
            terminalreporter.line(f"{kind}: {attempts} attempts, {successes} successes")


def _sum(attacks: dict[str, tuple[int, int]]) -> tuple[int, int]:
    return sum(attempts for attempts, _ in attacks.values()), sum(successes for _, successes in attacks.values())
