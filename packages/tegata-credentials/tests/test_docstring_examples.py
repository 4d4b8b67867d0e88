"""Every public class of the secret service, the sources and rotation shows how it is used, and the examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import types
from collections.abc import Iterator

import pytest

import tegata_credentials.database
import tegata_credentials.embedded_metrics
import tegata_credentials.errors
import tegata_credentials.observer
import tegata_credentials.rotation
import tegata_credentials.secret_service
import tegata_credentials.sources
import tegata_credentials.testing.outputs
import tegata_credentials.token_state
import tegata_credentials.versions

PACKAGES = (tegata_credentials.secret_service, tegata_credentials.sources, tegata_credentials.rotation)
MODULES = (
    tegata_credentials.embedded_metrics,
    tegata_credentials.errors,
    tegata_credentials.observer,
    tegata_credentials.versions,
)
# Of these only the examples that there are.
SINGLE_MODULES = (
    tegata_credentials.database,
    tegata_credentials.token_state,
    tegata_credentials.testing.outputs,
)


def modules() -> Iterator[types.ModuleType]:
    yield from MODULES
    for package in PACKAGES:
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def classes() -> Iterator[type]:
    """The public ones, where they are defined. A port is shown by the classes that fill it and needs no example."""
    for module in modules():
        for name, member in vars(module).items():
            is_ours = inspect.isclass(member) and member.__module__ == module.__name__ and not name.startswith("_")
            if is_ours and not getattr(member, "_is_protocol", False):
                yield member


def examples_in(text: str) -> list[str]:
    return [example.source for example in doctest.DocTestParser().get_examples(text)]


@pytest.mark.parametrize("module", [*modules(), *SINGLE_MODULES], ids=lambda module: module.__name__)
def test_the_examples_of_a_module_run(module):
    outcome = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert outcome.failed == 0


@pytest.mark.parametrize("member", list(classes()), ids=lambda member: f"{member.__module__}.{member.__qualname__}")
def test_a_public_class_has_an_example(member):
    assert examples_in(member.__doc__ or ""), f"{member.__qualname__}: add an example to its docstring, with >>>"


def test_a_class_without_an_example_would_be_found():
    assert examples_in("Does something.\n\nExample:\n\n    words, not code") == []
    assert examples_in("Does something.\n\n>>> 1 + 1\n2") == ["1 + 1\n"]
    assert len(list(classes())) > 60
