"""`tegata schema`: the JSON Schema of the documents."""

from __future__ import annotations

import sys

from tegata.cli.failures import OK
from tegata.flows.admin.schema import schema_text


def run() -> int:
    """Print the schema."""
    sys.stdout.write(schema_text())
    return OK
