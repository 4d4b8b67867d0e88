"""Runs import-linter again and again in one process: to start it takes longer than to judge a small tree.

Each line of standard input is a question, `[directory, contract]`; each line of standard output is the exit status that
`lint-imports` would have, and what it would print.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from contextlib import redirect_stdout
from io import StringIO

from importlinter.cli import lint_imports


def judge(config: str, directory: str, contract: str) -> tuple[int, str]:
    """Judge the packages in a directory by one contract."""
    os.chdir(directory)
    importlib.invalidate_caches()
    before = list(sys.path)
    try:
        with redirect_stdout(StringIO()) as told:
            status = lint_imports(config, limit_to_contracts=(contract,), no_cache=True, no_logo=True)
    finally:
        sys.path[:] = before
    return status, told.getvalue()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(judge(sys.argv[1], *json.loads(line))), flush=True)
