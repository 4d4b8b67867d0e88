"""`make cdk`: CDK's command line, of the version that reads what the library writes, on this environment's Node.js."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import tegata_infra  # finds Node.js

INFRA = Path(tegata_infra.__file__).resolve().parent.parent
CDK = INFRA / "node_modules" / "aws-cdk" / "bin" / "cdk"
SETTINGS = ("--no-lookups", "--no-version-reporting")
"""Nothing is looked up: what the app has to know is in its configuration."""


def say_again(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for `cdk`, which sets CDK_DEFAULT_REGION and _ACCOUNT anew, whatever they were.

    The region is said to it in the way that it hears, the account to the app, which compares.
    """
    said = dict(environ)
    if region := environ.get("CDK_DEFAULT_REGION"):
        said.setdefault("AWS_REGION", region)
    if account := environ.get("CDK_DEFAULT_ACCOUNT"):
        said.setdefault("DEPLOYMENT_ACCOUNT", account)
    return said


def main(arguments: list[str]) -> int:
    """Become `cdk` with the arguments, in the app's folder."""
    node = os.environ.get("JSII_NODE")
    if node is None or not CDK.exists():
        print("CDK's command line is not installed: make cdk", file=sys.stderr)
        return 2
    os.chdir(INFRA)
    os.execve(node, [node, str(CDK), *arguments, *SETTINGS], say_again(os.environ))  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
