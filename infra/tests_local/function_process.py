"""The rotation function as Lambda runs it: its zip for this machine unpacked, boto3 beside it, one process."""

from __future__ import annotations

from pathlib import Path

from artefact import local
from artefact.local import FunctionProcess, link_runtime

__all__ = ["FunctionProcess", "link_runtime", "unpack_zip"]


def unpack_zip(directory: Path) -> Path:
    """Build the zip for this machine, as `make lambda` does, and unpack it."""
    return local.unpack_zip(local.build_zip(local.own_target(), directory / "built"), directory / "task")
