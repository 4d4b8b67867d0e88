"""Asks the environment of its own in which Helm's engine is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

DEPLOY = Path(__file__).parents[1]
CHART = DEPLOY / "helm" / "tegata"
PYTHON = DEPLOY.parent / ".venv" / "charts" / "bin" / "python"
BASE_URL = "https://id.example.com"
Manifest = dict[str, Any]


class Charts:
    """A process that renders; one for all questions, because it takes seconds to start."""

    def __enter__(self) -> Charts:
        script = Path(__file__).with_name("charts_side.py")
        self._process = subprocess.Popen(
            [str(PYTHON), "-I", str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._known: dict[str, Any] = {}
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._process.communicate()

    def ask(self, **question: Any) -> Any:
        """Return the answer to a question."""
        line = json.dumps(question, sort_keys=True)
        if line not in self._known:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            print(line, file=self._process.stdin, flush=True)
            self._known[line] = self._process.stdout.readline()
        return json.loads(self._known[line])

    def render(self, kubernetes: str | None = None, **values: Any) -> dict[str, Any]:
        """Return the chart rendered, or why the values are refused; with a version also what its schemas say."""
        given = {"baseUrl": BASE_URL, **values}
        answer: dict[str, Any] = self.ask(ask="render", chart=str(CHART), values=given, kubernetes=kubernetes)
        return answer

    def manifests(self, **values: Any) -> list[Manifest]:
        """Return the objects of the chart with these values."""
        answer = self.render(**values)
        assert "refused" not in answer, answer
        found: list[Manifest] = answer["manifests"]
        return found


def named(found: list[Manifest], kind: str, name: str) -> Manifest:
    """Return one object."""
    return next(each for each in found if (each["kind"], each["metadata"]["name"]) == (kind, name))


def pods(found: list[Manifest]) -> dict[str, Manifest]:
    """Return the pods' specifications by component."""
    templates = [each["spec"]["template"] for each in found if each["kind"] in ("Deployment", "Job")]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each["spec"] for each in templates}
