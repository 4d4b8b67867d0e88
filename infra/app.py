"""The CDK app: `DEPLOYMENT` (idp, plan-b or plan-c) in `DEPLOYMENT_ENVIRONMENT` (dev, staging or production).

`cdk deploy --all` reads it; `python app.py` alone writes the templates. What else may be said is in
`tegata_infra.config.VARIABLES`.
"""

from __future__ import annotations

import os
import sys
from typing import get_args

from tegata_infra.config import Deployment, EnvironmentName
from tegata_infra.environments import load_config
from tegata_infra.mistakes import explain


def main() -> int:
    """Write the templates of one deployment in one environment."""
    deployment = os.environ.get("DEPLOYMENT", "idp")
    environment = os.environ.get("DEPLOYMENT_ENVIRONMENT", "production")
    for value, allowed in ((deployment, get_args(Deployment)), (environment, get_args(EnvironmentName))):
        if value not in allowed:
            print(f"{value!r} is none of {', '.join(allowed)}", file=sys.stderr)
            return 2
    try:
        config = load_config(deployment, environment, os.environ, packaging="assets")
    except ValueError as error:
        print(f"This configuration cannot be deployed:\n{explain(error)}", file=sys.stderr)
        return 2
    # CDK takes seconds to load: whoever has made a mistake hears of it before.
    from tegata_infra.deployment import build_app
    from tegata_infra.rotation import MissingArtefact

    try:
        build_app(config).synth()
    except (ValueError, MissingArtefact) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
