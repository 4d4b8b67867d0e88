"""`tegata version`."""

from __future__ import annotations

from importlib import metadata

from tegata.cli.failures import OK


def installed_version() -> str:
    """Return the version of the installed distribution."""
    return metadata.version("tegata")


def run() -> int:
    """Print the version."""
    print(installed_version())
    return OK
