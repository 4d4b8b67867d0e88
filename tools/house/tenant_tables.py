"""No migration makes a table without its wall: `create_tenant_table`, or `fence` on a table made by hand."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from .source import Finding, Source

CREATES = re.compile(
    r"\bcreate\s+(?:unlogged\s+)?table\s+(?:if\s+not\s+exists\s+)?(?:\"?tegata\"?\.)?\"?(?P<table>\w+)", re.IGNORECASE
)


def check(source: Source) -> Iterator[Finding]:
    """Find tables that are created, in a migration, without a call that fences them."""
    if not source.is_python or not source.is_in("tegata.postgres.migrations.versions"):
        return
    fenced = set(_fenced(source))
    for node in source.nodes:
        for table in _created(node):
            if table not in fenced:
                message = f"{table} is not behind row-level security: use create_tenant_table, or fence it"
                yield Finding("tenant-table", source.path, getattr(node, "lineno", 0), message, subject=table)


def _fenced(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.Call) and _called(node) == "fence" and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value


def _created(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and _called(node) == "create_table":
        name = node.args[0] if node.args else None
        yield str(name.value) if isinstance(name, ast.Constant) else "a table"
    elif isinstance(node, ast.Call):
        for text in node.args:
            yield from (match["table"] for match in CREATES.finditer(_text(text)))


def _text(node: ast.expr) -> str:
    """The text as far as it stands there; what is filled in may be the schema or a name."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "tegata"


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
