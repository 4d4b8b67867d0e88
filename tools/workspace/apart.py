"""Environments of their own inside `.venv`, for what cannot share one with the server and its tests.

ministack and AWS's command line pin botocore; CDK is far too large to be near the server; checkov pins a hundred
packages; Helm's engine is 250 MB, for the tests of one chart.
"""

from __future__ import annotations

from .environment import QUIET, Environment, announce, run

TESTED = {
    "ministack": "IAM policies enforced",
    "checkov": "what is unsafe in templates",
    "charts": "the Helm chart",
}
"""What tests use if it can be had, and which."""

PURPOSES = (*TESTED, "infra")


class Apart(Environment):
    """A virtual environment inside `.venv`: it goes and comes with it, and shares no package with it."""

    def __init__(self, outer: Environment, purpose: str) -> None:
        super().__init__(outer.root)
        self._outer = outer
        self.purpose = purpose
        self.directory = outer.directory / purpose
        self.python = self.directory / "bin" / "python"

    def _install(self, purpose: str) -> None:
        """Install with the pip of the outer environment, so that none is needed here."""
        announce(f"installing the packages pinned in requirements/{purpose}.txt")
        pip = [str(self._outer.python), "-m", "pip", "--python", str(self.python), "install", *QUIET]
        run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", f"requirements/{purpose}.txt"], cwd=self.root)


def prepare(environment: Environment, purpose: str) -> Apart:
    """Install what the purpose needs unless it is there. Needs the outer environment with its pip."""
    apart = Apart(environment, purpose)
    apart.prepare(purpose)
    return apart
