"""The example tenants and the example API: found beside the installed package, or in a checkout."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import tegata
from tegata.cli.failures import CommandFailure

Scope = MutableMapping[str, Any]
AsgiApp = Callable[
    [Scope, Callable[[], Awaitable[Scope]], Callable[[Scope], Awaitable[None]]],
    Awaitable[None],
]

TENANTS = ("demo", "other")
_PACKAGE = Path(tegata.__file__).resolve().parent
# In a wheel; in a checkout, whose root is above packages/tegata/src.
_PLACES = (_PACKAGE / "examples", _PACKAGE.parent.parent.parent.parent / "examples")


def tenant_files() -> list[Path]:
    """Return the documents of the example tenants. Raises `CommandFailure`."""
    for place in _PLACES:
        found = [place / "tenants" / f"{name}.yaml" for name in TENANTS]
        if all(path.is_file() for path in found):
            return found
    raise CommandFailure("the example tenants are missing from this installation")


def example_api(issuer: str, audiences: Sequence[str]) -> AsgiApp | None:
    """Return the example API that trusts `issuer`, or None where this installation has none of it."""
    for place in _PLACES:
        path = place / "fastapi-resource-server" / "resource_server.py"
        if path.is_file():
            return _load(path, issuer, audiences)
    return None


def _load(path: Path, issuer: str, audiences: Sequence[str]) -> AsgiApp | None:
    spec = importlib.util.spec_from_file_location("tegata_example_resource_server", path)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up there
    try:
        spec.loader.exec_module(module)
    except ModuleNotFoundError:  # FastAPI belongs to the `dev` extra
        return None
    app: AsgiApp = module.create_app(issuer, list(audiences))
    return app
