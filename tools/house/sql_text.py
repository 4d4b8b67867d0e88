"""SQL is constant text with parameters: nothing that came with a request is ever joined into it (pitfall P18)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .source import Finding, Source

TAKES_SQL = ("execute", "executemany", "executescript", "fetch", "fetchrow", "fetchval", "exec_driver_sql", "prepare")


def check(source: Source) -> Iterator[Finding]:
    """Find calls that are given a text put together on the spot."""
    if not source.is_python or source.is_test or source.is_in("tegata.postgres"):
        return
    for node in source.nodes:
        if isinstance(node, ast.Call) and _name(node) in TAKES_SQL and node.args and _is_joined(node.args[0]):
            message = (
                "text joined on the spot is given to the database: constant SQL and parameters, in tegata.postgres"
            )
            yield Finding("sql-text", source.path, node.lineno, message)


def _name(call: ast.Call) -> str | None:
    return call.func.attr if isinstance(call.func, ast.Attribute) else None


def _is_joined(text: ast.expr) -> bool:
    if isinstance(text, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in text.values)
    if isinstance(text, ast.BinOp):
        return isinstance(text.op, ast.Add | ast.Mod) and (_has_text(text.left) or _has_text(text.right))
    return isinstance(text, ast.Call) and _name(text) in ("format", "join", "format_map")


def _has_text(node: ast.expr) -> bool:
    if isinstance(node, ast.JoinedStr):
        return True
    return (isinstance(node, ast.Constant) and isinstance(node.value, str)) or _is_joined(node)
