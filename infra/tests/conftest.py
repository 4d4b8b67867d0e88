"""The templates, each synthesized once for a run however many processes test, and read as plain data."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

import pytest
from tegata_infra.synthesis import synthesize
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from .syntheses import COMBINATIONS, SYNTHESES
from .templates import Assembly

CDK, COMMAND_LINE, TOOLS = "CDK", "CDK's command line", ("checkov", "cfn-lint")


class Sharing(LoadScopeScheduling):
    """Gives tests to workers one by one, but first to one worker each those that share what takes seconds to start."""

    def _assign_work_unit(self, node: WorkerController) -> None:
        for scope in (CDK, *TOOLS, COMMAND_LINE):
            if scope in self.workqueue:
                self.workqueue.move_to_end(scope, last=False)
                break
        super()._assign_work_unit(node)

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        name = file.rpartition("/")[2]
        if name.startswith("test_construct_"):
            return CDK  # these run it themselves
        if name == "test_cli.py":
            return COMMAND_LINE
        tool = test.rpartition("[")[2].removesuffix("]")
        return tool if tool in TOOLS else nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing | None:
    """Choose who tests what, where any worker may."""
    return Sharing(config, log) if config.getoption("dist") == "load" else None


@pytest.fixture(scope="session")
def read_synthesis(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Assembly]:
    """Return the templates of one of `SYNTHESES`."""
    base = tmp_path_factory.getbasetemp()
    # A process's first synthesis takes as long as its next five: of several processes, one does it for all.
    shared, together = (base, False) if worker_id == "master" else (base.parent, True)
    read: dict[str, Assembly] = {}

    def find(name: str) -> Assembly:
        if name not in read:
            with open(shared / "syntheses.lock", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for each in SYNTHESES if together else [name]:
                    make(each, shared / each, is_wanted=each == name)
            read[name] = Assembly.read(shared / name)
        return read[name]

    def make(name: str, directory: Path, *, is_wanted: bool) -> None:
        if (directory / "acknowledged.json").exists():
            return
        asked = SYNTHESES[name]
        try:
            synthesize(asked.deployment, asked.environment, directory, environ=asked.environ, **asked.given)
        except RuntimeError:
            if is_wanted:  # another one's findings are told where it is asked for
                raise

    return find


@pytest.fixture(scope="session")
def read_assembly(read_synthesis: Callable[[str], Assembly]) -> Callable[[str, str], Assembly]:
    """Return what `make synth` writes for a deployment in an environment."""
    return lambda deployment, environment: read_synthesis(f"{deployment}-{environment}")


@pytest.fixture(scope="session")
def idp(read_assembly) -> Assembly:
    """Tegata in production."""
    return read_assembly("idp", "production")


@pytest.fixture(scope="session")
def plan_b(read_assembly) -> Assembly:
    """Plan B in production."""
    return read_assembly("plan-b", "production")


@pytest.fixture(scope="session")
def plan_c(read_assembly) -> Assembly:
    """Plan C in production."""
    return read_assembly("plan-c", "production")


@pytest.fixture(scope="session", params=COMBINATIONS, ids="/".join)
def each(request: pytest.FixtureRequest, read_assembly) -> Assembly:
    """Every deployment in every environment."""
    return read_assembly(*request.param)
