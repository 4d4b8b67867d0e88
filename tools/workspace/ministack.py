"""ministack, which enforces IAM policies in tests. It pins botocore, so it lives in an environment of its own."""

from __future__ import annotations

from .environment import QUIET, Environment, announce, run

PURPOSE = "ministack"


class Apart(Environment):
    """A virtual environment inside `.venv`: it goes and comes with it, and shares no package with it."""

    def __init__(self, outer: Environment) -> None:
        super().__init__(outer.root)
        self._outer = outer
        self.directory = outer.directory / PURPOSE
        self.python = self.directory / "bin" / "python"

    def _install(self, purpose: str) -> None:
        """Install with the pip of the outer environment, so that none is needed here."""
        announce(f"installing the packages pinned in requirements/{purpose}.txt")
        pip = [str(self._outer.python), "-m", "pip", "--python", str(self.python), "install", *QUIET]
        run([*pip, "--require-hashes", "--only-binary", ":all:", "-r", f"requirements/{purpose}.txt"], cwd=self.root)


def prepare(environment: Environment) -> None:
    """Install ministack unless it is there. Needs the outer environment with its pip."""
    Apart(environment).prepare(PURPOSE)
