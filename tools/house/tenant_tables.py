"""Migrations build the wall through `create_tenant_table` and `fence`, and take nothing of it down by hand.

Every text in a migration is read, wherever it stands, without its comments and whatever its spelling. The doctor proves
the result on a database; this rule tells earlier, before there is one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .source import Finding, Source

RULE = "tenant-table"
_NAME = r"(?:\"?tegata\"?\s*\.\s*)?\"?(?P<table>[\w%${}]+)"

CREATES = re.compile(
    r"\bcreate\s+(?:(?:global|local|temp|temporary|unlogged|foreign)\s+)*table\s+(?:if\s+not\s+exists\s+)?" + _NAME
)
SELECTS_INTO = re.compile(
    r"(?:^|;)\s*(?:with\b[^;]*?\)\s*)?select\b[^;]*?\binto\s+(?:(?:temp|temporary|unlogged)\s+)?(?:table\s+)?tegata\s*\.\s*"
    r"(?P<table>\w+)"
)


@dataclass(frozen=True)
class _Forbidden:
    pattern: re.Pattern[str]
    message: str


def _forbidden(pattern: str, message: str) -> _Forbidden:
    return _Forbidden(re.compile(pattern), message)


# The group `table` names what it is about; without one the rule is about the statement.
FORBIDDEN = (
    _forbidden(
        rf"\balter\s+table\s+(?:if\s+exists\s+)?(?:only\s+)?{_NAME}[^;]*\b(?:disable|no\s+force)\s+row\s+level\s+security",
        "row-level security is enabled and forced, always",
    ),
    _forbidden(
        rf"\b(?:create|alter|drop)\s+policy\s+(?:if\s+exists\s+)?\"?[\w%$ ]+?\"?\s+on\s+{_NAME}",
        "policies come from create_tenant_table and fence alone",
    ),
    _forbidden(r"\balter\s+table\b[^;]*\bowner\s+to\b", "everything belongs to the owner role"),
    _forbidden(r"\bgrant\b[^;]*\bto\b[^;]*\bpublic\b", "PUBLIC gets no right: name the role"),
    _forbidden(
        r"\bgrant\b[^;]*\b(?:all|truncate|references|trigger|maintain|create)\b[^;]*\bon\b",
        "name the rights: select, insert, update, delete, execute; the others are not filtered by policies",
    ),
    _forbidden(r"\bgrant\b[^;]*\bon\s+all\b", "rights are given table by table"),
    _forbidden(r"\bwith\s+grant\s+option\b", "nobody passes rights on"),
    _forbidden(r"\bgrant\s+\"?\w+\"?(?:\s*,\s*\"?\w+\"?)*\s+to\b", "memberships are the bootstrap's business"),
    _forbidden(r"\balter\s+default\s+privileges\b", "default privileges are the bootstrap's business"),
    _forbidden(r"\b(?:create|alter|drop)\s+(?:role|user|group)\b", "roles are the bootstrap's business"),
    _forbidden(
        r"\b(?:set|reset)\s+(?:(?:local|session)\s+)?(?:role|session\s+authorization|row_security)\b",
        "a migration runs as the owner, bound by its policies",
    ),
    _forbidden(
        r"\bcreate\s+(?:or\s+replace\s+)?(?:(?:temp|temporary|recursive)\s+)*view\b"
        r"(?![^;]*?\bsecurity_invoker\s*(?:=\s*(?:true|on|1)\s*)?[,)])",
        "a view reads with its owner's rights: with (security_invoker = true)",
    ),
    _forbidden(r"\bcreate\s+materialized\s+view\b", "a materialized view holds every tenant's rows"),
    _forbidden(
        r"\bcreate\s+(?:(?:temp|temporary|unlogged)\s+)?sequence\b|\b(?:small|big)?serial\b|\bas\s+identity\b",
        "a sequence counts for all tenants: UUID keys",
    ),
)
_READS_ELSEWHERE = ("read_text", "read_bytes", "read", "open", "files")
_MAKES_TABLES = ("create_table", "create_all")


def check(source: Source) -> Iterator[Finding]:
    """Find tables without a fence, and statements that weaken the wall, in a migration."""
    if not source.is_python or not source.is_in("tegata.postgres.migrations.versions"):
        return
    fenced = set(_fenced(source))
    seen: set[tuple[int, str, str]] = set()
    for line, subject, message in _found(source, fenced):
        if (line, subject, message) not in seen:
            seen.add((line, subject, message))
            yield Finding(RULE, source.path, line, message, subject=subject)


def _found(source: Source, fenced: set[str]) -> Iterator[tuple[int, str, str]]:
    for line, table in (*_calls_that_make_tables(source), *_texts_that_make_tables(source)):
        if table not in fenced:
            yield line, table, f"{table} is not behind row-level security: use create_tenant_table, or fence it"
    for line, text in _texts(source):
        for forbidden in FORBIDDEN:
            for match in forbidden.pattern.finditer(text):
                statement = " ".join(match[0].split())[:60]
                yield line, match.groupdict().get("table") or statement, f"{statement}: {forbidden.message}"
    for node in source.nodes:
        if isinstance(node, ast.Call) and _called(node) in _READS_ELSEWHERE:
            yield node.lineno, _called(node), "a migration's statements stand in the migration, where they can be read"


def _fenced(source: Source) -> Iterator[str]:
    for node in source.nodes:
        if isinstance(node, ast.Call) and _called(node) == "fence":
            names = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "name")]
            for name in names:
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield name.value


def _calls_that_make_tables(source: Source) -> Iterator[tuple[int, str]]:
    for node in source.nodes:
        if isinstance(node, ast.Call) and _called(node) in _MAKES_TABLES:
            name = node.args[0] if node.args else None
            constant = isinstance(name, ast.Constant) and isinstance(name.value, str)
            yield node.lineno, str(name.value) if constant and isinstance(name, ast.Constant) else "a table"


def _texts_that_make_tables(source: Source) -> Iterator[tuple[int, str]]:
    for line, text in _texts(source):
        for pattern in (CREATES, SELECTS_INTO):
            yield from ((line, match["table"]) for match in pattern.finditer(text))


def _texts(source: Source) -> Iterator[tuple[int, str]]:
    """Every text of the module, put together as far as that can be seen, without docstrings and SQL comments."""
    inner: set[int] = set()
    for node in source.nodes:  # outer expressions come before their parts
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            inner.add(id(node.value))
        elif isinstance(node, ast.expr) and id(node) not in inner and _is_text(node):
            inner.update(id(part) for part in ast.walk(node) if part is not node and _is_text(part))
            yield node.lineno, _without_comments(_text(node)).lower()


def _is_text(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Add | ast.Mod) and (_is_text(node.left) or _is_text(node.right))
    return isinstance(node, ast.JoinedStr) or _joined(node) is not None


def _joined(node: ast.AST) -> list[ast.expr] | None:
    """The parts of `"...".join([...])`."""
    if not (isinstance(node, ast.Call) and _called(node) == "join" and len(node.args) == 1):
        return None
    parts = node.args[0]
    return list(parts.elts) if isinstance(parts, ast.List | ast.Tuple) else None


def _text(node: ast.expr) -> str:
    """The text as far as it stands there; what is filled in may be the schema or a name."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        filled = node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
        words = iter([_text(part) for part in filled])
        return re.sub(r"%s", lambda _: next(words, "tegata"), _text(node.left))
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if (parts := _joined(node)) is not None and isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return _text(node.func.value).join(_text(part) for part in parts)
    return "tegata"


def _without_comments(text: str) -> str:
    before = None
    while before != text:  # comments in comments: from the inside out
        before, text = text, re.sub(r"/\*(?:(?!/\*|\*/).)*\*/", " ", text, flags=re.DOTALL)
    return re.sub(r"--[^\n]*", " ", text)


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""
