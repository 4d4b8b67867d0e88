"""Reads a Dockerfile: its stages, and the configuration of the image that the last one makes (Dockerfile reference)."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from string import Template


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction in one line, without comments: `Instruction("USER", "10001")`."""

    word: str
    text: str

    @property
    def words(self) -> list[str]:
        """What stands behind it: the JSON form as it is, the other one split as a shell does."""
        start = self.text.find("[")
        if start >= 0 and self.text.endswith("]"):
            words: list[str] = json.loads(self.text[start:])
            return words
        return shlex.split(self.text)

    @property
    def has_no_shell(self) -> bool:
        """Whether it is written as JSON, so that no shell starts it."""
        return self.text.lstrip().startswith("[") or " CMD [" in f" {self.text}"

    def options(self) -> dict[str, str]:
        """`--name=value` in front of what it says."""
        return dict(re.findall(r"--([a-z-]+)=(\S+)", self.text))


@dataclass(frozen=True, slots=True)
class Stage:
    """One `FROM` and what follows it."""

    base: str
    name: str | None
    instructions: list[Instruction] = field(default_factory=list)

    def all(self, word: str) -> list[Instruction]:
        """Every instruction of a kind, in order."""
        return [instruction for instruction in self.instructions if instruction.word == word]

    def last(self, word: str) -> Instruction:
        """The one that counts, of those of which only the last does."""
        return self.all(word)[-1]

    def pairs(self, word: str) -> dict[str, str]:
        """What `ENV`, `LABEL` or `ARG` set."""
        words = (text for instruction in self.all(word) for text in instruction.words)
        return dict(text.split("=", 1) for text in words if "=" in text)


@dataclass(frozen=True, slots=True)
class Dockerfile:
    """The stages; arguments before the first `FROM` have their defaults put in."""

    stages: list[Stage]
    arguments: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        """Read the file. Raises `ValueError` where an instruction stands before the first `FROM`."""
        arguments: dict[str, str] = {}
        stages: list[Stage] = []
        for instruction in _instructions(path.read_text()):
            if instruction.word == "FROM":
                base, *named = Template(instruction.text).substitute(arguments).split()
                stages.append(Stage(base, named[1] if named else None))
            elif stages:
                stages[-1].instructions.append(instruction)
            elif instruction.word == "ARG":
                name, _, value = instruction.text.partition("=")
                arguments[name] = value
            else:
                raise ValueError(f"{instruction.word} stands before FROM")
        return cls(stages, arguments)

    @property
    def image(self) -> Stage:
        """The last stage: what is started."""
        return self.stages[-1]

    def stage(self, name: str) -> Stage:
        """Return a stage by its name."""
        return next(stage for stage in self.stages if stage.name == name)


def _instructions(text: str) -> Iterator[Instruction]:
    # A comment inside a continued instruction is a line that is not there.
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    for line in joined.splitlines():
        word, _, rest = line.strip().partition(" ")
        yield Instruction(word.upper(), rest.strip())
