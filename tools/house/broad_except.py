"""`except Exception` stands in one place, where a fault becomes `server_error`: elsewhere it would hide faults.

A handler that ends by raising the same exception again hides nothing: it tidies up.
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
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node):
            message = "name the exceptions that can be answered here; the rest belongs to tegata.api.errors"
            yield Finding("broad-except", source.path, node.lineno, message)


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in BROAD for name in names)


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None
