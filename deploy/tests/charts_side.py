"""Runs in the environment `.venv/charts`: Helm's engine, Kubernetes' schemas and compose's model, asked as JSON.

Each line of standard input is a question, `{"ask": "render", ...}`; each line of standard output is its answer.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import helm_python as helm
import kubernetes_validate
import yaml
from compose_spec import PyCompose


def render(chart: str, values: dict[str, Any], kubernetes: str | None) -> dict[str, Any]:
    """Return the manifests, and what a version's schemas say against them; or why Helm refuses the values."""
    with helm.Chart.load(chart) as loaded:
        try:
            loaded.validate_schema(values)
        except helm.HelmError as error:
            return {"refused": str(error)}
        made = loaded.render(values, name="id", namespace="identity")
    manifests, problems = [], []
    for name, text in made.items():
        if not name.endswith(".txt"):
            for manifest in filter(None, yaml.safe_load_all(text)):
                manifests.append(manifest)
                if kubernetes is None:
                    continue
                try:
                    kubernetes_validate.validate(manifest, kubernetes, strict=True)
                except kubernetes_validate.ValidationError as error:
                    problems.append(f"{name}: {error.message}")
    notes = "".join(text for name, text in made.items() if name.endswith("NOTES.txt"))
    return {"manifests": manifests, "problems": problems, "notes": notes}


def lint(chart: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return what `helm lint --strict` says."""
    return helm.lint(chart, values, strict=True)


def compose(document: dict[str, Any]) -> str | None:
    """Return what is wrong with a compose file, None if nothing is."""
    try:
        PyCompose.from_yaml(yaml.safe_dump(document)).validate()
    except ValueError as error:
        return str(error)
    return None


ANSWERS = {"render": render, "lint": lint, "compose": compose}

if __name__ == "__main__":
    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(ANSWERS[question.pop("ask")](**question)), flush=True)
