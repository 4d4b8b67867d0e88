"""checkov's rules for Azure over every deployment, with everything computed: none passes for want of a value.

What it finds and we keep stands in `KEPT` with the reason; docs/how-to/deploy-on-azure.md prints the same list.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .templates import AZURE, Deployment, deployed

CHECKOV = Path(sys.prefix) / "checkov" / "bin" / "checkov"
KEPT = {
    (
        "CKV_AZURE_17",
        "sites",
    ): "client certificates: the clients are browsers, and TLS of their own is asked by no flow",
    ("CKV_AZURE_222", "sites"): "no public access: this is the one service that the world is meant to reach",
    ("CKV_AZURE_225", "serverfarms"): "zones: in dev, whose plan is in one zone",
}


def written(deployment: Deployment) -> dict[str, Any]:
    """Return the deployment as a template that has nothing left to compute."""
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "resources": [
            {"type": one.kind, "apiVersion": one.api_version, "name": one.name, **one.body}
            for one in deployment.resources
            if one.kind != "Microsoft.Resources/deployments"  # what is in it is among the others
        ],
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    if not CHECKOV.exists():
        pytest.skip("checkov is not installed: `make test-infra` puts it into .venv/checkov")
    place = tmp_path_factory.mktemp("templates")
    for environment in ("dev", "production"):  # staging differs in sizes alone
        made = {
            "foundation": deployed("foundation", environment),
            "containers": deployed("application", environment),
            "web": deployed("application", environment, compute="appService"),
        }
        for name, deployment in made.items():
            (place / f"{name}-{environment}.json").write_text(json.dumps(written(deployment)))
    # It would ask its makers for the texts of rules otherwise.
    offline = ["--skip-download", "--framework", "arm", "--quiet", "--compact", "--output", "json"]
    finished = subprocess.run(
        [str(CHECKOV), "--directory", str(place), *offline], check=False, capture_output=True, text=True, timeout=120
    )
    report = json.loads(finished.stdout)
    assert report["summary"]["parsing_errors"] == 0
    found: dict[str, list[dict[str, Any]]] = report["results"] | {"summary": [report["summary"]]}
    return found


def test_what_checkov_finds_has_a_reason(results: dict[str, list[dict[str, Any]]]) -> None:
    found = {(one["check_id"], one["resource"].split(".")[1].rpartition("/")[2]) for one in results["failed_checks"]}
    assert found == set(KEPT)


def test_checkov_has_looked_at_everything(results: dict[str, list[dict[str, Any]]]) -> None:
    assert results["summary"][0]["resource_count"] > 120
    assert results["summary"][0]["passed"] > 60


def test_the_page_prints_the_list() -> None:
    page = (AZURE.parent.parent / "docs/how-to/deploy-on-azure.md").read_text()
    for (rule, _), reason in KEPT.items():
        assert f"| {rule} | {reason} |" in page
