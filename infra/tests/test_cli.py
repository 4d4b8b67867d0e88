"""CDK's own command line, of the pinned version: the same templates as without it, and nothing asked of the network.

`npm install -g aws-cdk` gives 3.0.0, which cannot read what the library writes (errata D01).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

INFRA = Path(__file__).resolve().parent.parent
CDK = INFRA / "node_modules" / "aws-cdk"
JSII_CACHE = Path(
    os.environ.get("JSII_RUNTIME_PACKAGE_CACHE_ROOT") or Path.home() / ".cache" / "aws" / "jsii" / "package-cache"
)
"""Where jsii keeps what it has unpacked: another home would mean to unpack the whole library again."""

STACKS = ["PlanC-dev-Network", "PlanC-dev-Edge", "PlanC-dev-Service"]


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Somebody with an account and a region, no credentials, and no network: every request fails at once."""
    if not (CDK / "bin" / "cdk").exists():
        missing = "missing: npm, and with it CDK's command line"
        (pytest.fail if os.environ.get("TEGATA_INFRA_COMPLETE") else pytest.skip)(missing)
    home = tmp_path_factory.mktemp("home")
    return {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(home),
        "JSII_NODE": os.environ["JSII_NODE"],
        "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(JSII_CACHE),
        "CDK_DISABLE_CLI_TELEMETRY": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "AWS_REGION": "ap-northeast-1",
        "CDK_DEFAULT_ACCOUNT": "111111111111",
        "DEPLOYMENT": "plan-c",
        "DEPLOYMENT_ENVIRONMENT": "dev",
    }


def run_cdk(environ: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    options = ["--no-lookups", "--no-notices", "--no-version-reporting", "--ci"]
    return subprocess.run(
        [environ["JSII_NODE"], CDK / "bin" / "cdk", *words, *options],
        cwd=INFRA,
        env=dict(environ),
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def synthesized(environ: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `cdk synth` writes."""
    output = tmp_path_factory.mktemp("cdk")
    app = f"{sys.executable} app.py"
    ran = run_cdk(environ, "synth", "--quiet", "--app", app, "--output", str(output))
    assert ran.returncode == 0, ran.stderr
    return output


def test_the_command_line_is_the_version_that_reads_what_the_library_writes() -> None:
    wanted = json.loads((INFRA / "package.json").read_text())["devDependencies"]
    locked = json.loads((INFRA / "package-lock.json").read_text())["packages"]
    assert wanted == {"aws-cdk": "2.1148.1"}
    assert locked["node_modules/aws-cdk"]["version"] == "2.1148.1"
    assert not [name for name, entry in locked.items() if "resolved" in entry], "no address of a registry"


def test_the_installed_command_line_is_that_one(environ: Mapping[str, str]) -> None:
    assert json.loads((CDK / "package.json").read_text())["version"] == "2.1148.1"


def test_stacks_are_listed_in_the_order_in_which_they_need_each_other(
    environ: Mapping[str, str], synthesized: Path
) -> None:
    ran = run_cdk(environ, "list", "--app", str(synthesized))
    assert ran.stdout.split() == STACKS, ran.stderr


def test_the_templates_are_the_same_without_the_command_line(
    environ: Mapping[str, str], synthesized: Path, tmp_path: Path
) -> None:
    # Judged they have been before; what judges them takes longer to start than all the rest.
    alone = {**environ, "CDK_DEFAULT_REGION": environ["AWS_REGION"], "CDK_OUTDIR": str(tmp_path)}
    alone["CDK_VALIDATION"] = "false"
    subprocess.run([sys.executable, "app.py"], cwd=INFRA, env=alone, check=True, capture_output=True)
    for stack in STACKS:
        name = f"{stack}.template.json"
        assert json.loads((tmp_path / name).read_text()) == json.loads((synthesized / name).read_text())
    assert not json.loads((synthesized / "manifest.json").read_text()).get("missing")
