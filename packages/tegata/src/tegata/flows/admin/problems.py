"""What is wrong with documents, told so that somebody who is stuck finds the line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]

_SHOWN = 30
_MAX_PATH_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the file and line, the document's kind and name, the field, and what to do about it."""

    source: str
    line: int | None
    document: str
    path: Path
    message: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        field = path_text(self.path)[:_MAX_PATH_CHARACTERS]
        return ": ".join(part for part in (place, self.document, f"{field} {self.message}".strip()) if part)


class InvalidDocuments(Exception):
    """The input cannot be applied; nothing has been changed. `problems` lists every fault that was found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        lines = [str(problem) for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            lines.append(f"... and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join(lines))


def path_text(path: Path) -> str:
    """Return a path as it is written in prose: `spec.redirect_uris[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
