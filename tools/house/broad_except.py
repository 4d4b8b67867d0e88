"""`except Exception` stands in one place, where a fault becomes `server_error`: elsewhere it would hide faults.

A handler that ends by raising hides nothing: it tidies up, or translates.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .source import Finding, Source

BROAD = ("Exception", "BaseException")


def check(source: Source) -> Iterator[Finding]:
    """Find handlers for everything, in product code."""
    if not source.is_python or source.is_test or source.is_in("tegata.api.errors"):
        return
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _ends_by_raising(node):
            message = "name the exceptions that can be answered here; the rest belongs to tegata.api.errors"
            yield Finding("broad-except", source.path, node.lineno, message)


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in BROAD for name in names)


def _ends_by_raising(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)
