"""The process that moto runs in: `python -m tegata_credentials.testing.secrets_manager.server`.

It prints two ports of 127.0.0.1 on one line, the corrected one and moto's own, and ends when its standard input does,
so that it never outlives whoever started it.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.secretsmanager.models import secretsmanager_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from .contract import Contract


class _Quiet(WSGIRequestHandler):
    """Says nothing about requests, and sends an answer at once."""

    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        """Do nothing."""


def main() -> None:
    """Serve until the standard input ends."""
    logging.disable(logging.CRITICAL)
    moto = DomainDispatcherApplication(create_backend_app)
    servers = [
        make_server("127.0.0.1", 0, application, threaded=True, request_handler=_Quiet)
        for application in (Contract(moto, _backend), moto)
    ]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(*(server.server_port for server in servers), flush=True)
    sys.stdin.buffer.read()


def _backend(region: str) -> Any:
    """Return moto's backend as it is now: a reset makes new ones."""
    return secretsmanager_backends[DEFAULT_ACCOUNT_ID][region]


if __name__ == "__main__":
    main()
