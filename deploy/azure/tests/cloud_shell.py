"""A stand-in for `az`, which writes down what it is told and answers as the real one should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .templates import AZURE

# What it answers comes from answers.json, by the words that a command line has to hold; the last answer is repeated.
AZ = """#!{python} -IS
import json, pathlib, sys
place = pathlib.Path(__file__).resolve().parent.parent
line = sys.argv[1:]
files = [pathlib.Path(word).read_text() for name, word in zip(line, line[1:]) if name == "--file"]
with (place / "said").open("a") as said:
    said.write(json.dumps([line, files]) + "\\n")
answers = json.loads((place / "answers.json").read_text())
for words, texts in answers:
    if set(words) <= set(line):
        counter = place / ("count-" + "-".join(words).replace("/", "_"))
        count = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(count + 1))
        text = texts[min(count, len(texts) - 1)]
        if text is None:
            sys.exit("ERROR: (Forbidden)")
        print(text)
        break
"""


@dataclass
class Azure:
    """A place with a stand-in for `az` in it."""

    place: Path

    def answer(self, *answers: tuple[list[str], list[str | None]]) -> None:
        """Give these answers from now on; None is a refusal."""
        (self.place / "answers.json").write_text(json.dumps(answers))

    @classmethod
    def ready(cls, place: Path) -> Azure:
        """Put one there that lets everything go well."""
        (place / "bin").mkdir()
        az = place / "bin" / "az"
        az.write_text(AZ.replace("{python}", sys.executable))
        az.chmod(0o755)
        made = cls(place)
        made.answer(
            (["job", "start"], ["execution-1"]),
            (["execution", "show"], ["Running", "", "Succeeded"]),
            (["properties.outputs.vault.value"], ["tegata-vault"]),
            (["properties.outputs.server.value"], ["tegata-db.postgres.database.azure.com"]),
            (["properties.outputs.baseUrl.value"], ["https://id.example.com"]),
            (["secret", "list"], [""]),
        )
        return made

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run deploy.sh."""
        return self.shell("bash", str(AZURE / "deploy.sh"), *words)

    def shell(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command that finds the stand-in."""
        environment = {
            "PATH": f"{self.place / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "TEGATA_DEPLOY_PAUSE_SECONDS": "0",
            "TMPDIR": str(self.place),
        }
        return subprocess.run(
            command,
            env=environment,
            cwd=AZURE.parent.parent,
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def said(self) -> list[tuple[list[str], list[str]]]:
        """What it was told: each command line, and the contents of files it named."""
        file = self.place / "said"
        return (
            [(line, files) for line, files in map(json.loads, file.read_text().splitlines())] if file.exists() else []
        )

    def acts(self) -> list[str]:
        """What was changed, in a word each."""
        found = []
        for line, _ in self.said:
            words = " ".join(line)
            for start, act in _ACTS.items():
                if words.startswith(start):
                    found.append(act(line) if callable(act) else act)
        return found


def _after(word: str) -> Callable[[list[str]], str]:
    return lambda line: line[line.index(word) + 1]


_ACTS: dict[str, str | Callable[[list[str]], str]] = {
    "deployment group create": lambda line: " ".join(
        [Path(_after("--template-file")(line)).name, *[word for word in line if word.startswith("parts=")]]
    ),
    "containerapp job start": _after("--name"),
    "keyvault update": lambda line: _after("--public-network-access")(line),
    "keyvault network-rule add": "let in",
    "keyvault network-rule remove": "let in no more",
    "keyvault secret set": "key written",
}
