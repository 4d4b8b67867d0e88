"""What a rule reads, and what it answers."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Finding:
    """One breach of one rule."""

    rule: str
    path: str
    line: int
    message: str
    subject: str = ""

    @property
    def key(self) -> str:
        """What names it in the list of exceptions: the file, or one thing in the file."""
        return f"{self.path}#{self.subject}" if self.subject else self.path

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.message}"


@dataclass(frozen=True)
class Source:
    """One tracked text file, its path relative to the root and with forward slashes."""

    path: str
    text: str

    @property
    def is_python(self) -> bool:
        """Whether rules about code concern it."""
        return self.path.endswith(".py")

    @property
    def is_test(self) -> bool:
        """Whether it is a test, or something that only tests use."""
        return "/tests/" in f"/{self.path}"

    def is_in(self, *packages: str) -> bool:
        """Whether it belongs to one of these packages, written as `tegata.protocol`."""
        module = f"{self.path.partition('/src/')[2]}".removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        return any(module == package or module.startswith(f"{package}.") for package in packages)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the syntax tree."""
        return tuple(ast.walk(ast.parse(self.text, self.path)))

    @cached_property
    def imported(self) -> dict[str, str]:
        """Each name that an import binds, and what it stands for: `{"dt": "datetime.datetime"}`."""
        names: dict[str, str] = {}
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.asname or alias.name.partition(".")[0]
                    names[bound] = alias.name if alias.asname else bound
            elif isinstance(node, ast.ImportFrom):
                prefix = "." * node.level + (node.module or "")
                names.update({alias.asname or alias.name: f"{prefix}.{alias.name}" for alias in node.names})
        return names

    def full_name(self, node: ast.expr) -> str | None:
        """What `a.b.c` stands for, its first part resolved through the imports; None for other expressions."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        return ".".join([self.imported.get(node.id, node.id), *reversed(parts)])


def tracked(root: Path) -> Iterator[Source]:
    """Every text file that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout
    for name in sorted(filter(None, listing.decode().split("\0"))):
        try:
            yield Source(name, (root / name).read_text())
        except (UnicodeDecodeError, OSError):
            continue  # an image, or a file deleted in the working tree: nothing to read
