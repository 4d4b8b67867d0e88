"""`tegata schema`: the JSON Schema of the documents."""

from __future__ import annotations

import json
import sys

from tegata.cli.failures import OK
from tegata.flows.admin.schema import schema_text


def run() -> int:
    """Print the schema."""
    sys.stdout.write(schema_text())
    return OK


def run_rotation() -> int:
    """Print the schema of documents about secrets that are rotated."""
    from tegata.cli.rotation.schema import rotation_schema

    sys.stdout.write(json.dumps(rotation_schema(), indent=2, ensure_ascii=False) + "\n")
    return OK
