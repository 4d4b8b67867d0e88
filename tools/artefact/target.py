"""The machine that a function runs on, and which pinned packages it needs there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

ARCHITECTURES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's word for each architecture, and that of wheels."""


@dataclass(frozen=True, slots=True)
class Target:
    """One Lambda runtime: `architecture` in Lambda's words, `python` as `3.13`."""

    architecture: str
    python: str

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platforms whose wheels run there: Amazon Linux 2023 has glibc 2.34, but wheels ask for 2.28 at most."""
        machine = ARCHITECTURES[self.architecture]
        return (f"manylinux_2_28_{machine}", f"manylinux2014_{machine}", f"manylinux_2_17_{machine}")

    def _environment(self) -> dict[str, str]:
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": ARCHITECTURES[self.architecture],
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }

    def needs(self, requirement: Requirement) -> bool:
        """Whether the requirement is meant for this target; pip would judge by the machine it runs on."""
        return requirement.marker is None or requirement.marker.evaluate(self._environment())


def pinned_for(target: Target, pins: Path) -> str:
    """Return the lines of a pinned file that this target needs, with their hashes and without their conditions."""
    joined = pins.read_text().replace("\\\n", " ")
    lines = [line.split() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    kept = []
    for words in lines:
        hashes = [word for word in words if word.startswith("--hash=")]
        requirement = Requirement(" ".join(word for word in words if not word.startswith("--hash=")))
        if target.needs(requirement):
            kept.append(" ".join([f"{requirement.name}{requirement.specifier}", *hashes]))
    return "\n".join(kept) + "\n"
