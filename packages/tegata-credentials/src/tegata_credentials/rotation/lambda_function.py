"""The entry point on AWS Lambda: set the function's handler to `tegata_credentials.rotation.lambda_function.handler`.

`make lambda` packs it. Two variables of the environment say what to do; neither holds a secret:

- `TEGATA_ROTATION`: the plans, as JSON (`tegata_credentials.rotation.plans`). They are also the list of secrets that
  the function may rotate.
- `TEGATA_ROTATION_CA`: the file of certificates that the database's own is verified with. Without it the
  `database-ca.pem` that was packed beside the code, if there is one.

A step that fails ends the invocation with an error: Secrets Manager delivers it again, and each step may be repeated.
Give the function a reserved concurrency of as many as it has secrets, and a timeout of a minute or more.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tegata_credentials.embedded_metrics import EmbeddedMetrics
from tegata_credentials.rotation.plans import PlanError, read_plans
from tegata_credentials.rotation.ports import VersionStore
from tegata_credentials.rotation.steps import Rotation
from tegata_credentials.rotation.strategies import strategies_of

PLANS, CERTIFICATES = "TEGATA_ROTATION", "TEGATA_ROTATION_CA"
_PACKED = Path(__file__).resolve().parents[2] / "database-ca.pem"


class RotationFunction:
    """A rotation that is set up from an environment, once for all invocations of one process.

    Example:
        >>> from tegata_credentials.testing.version_store import MemoryVersions
        >>> plans = '[{"secret": "shop-dev-secret-jwt", "strategy": "signing-keys"}]'
        >>> function = RotationFunction({"TEGATA_ROTATION": plans}, MemoryVersions())
        >>> function({"SecretId": "another", "ClientRequestToken": "5f1c", "Step": "createSecret"})
        Traceback (most recent call last):
        tegata_credentials.rotation.errors.RotationRefused: this secret is not one of those that may be rotated here
    """

    def __init__(
        self, environ: Mapping[str, str], store: VersionStore, *, observer: EmbeddedMetrics | None = None
    ) -> None:
        text = environ.get(PLANS, "").strip()
        if not text:
            raise PlanError(f"{PLANS} is not set: it names the secrets to rotate and how, as JSON")
        packed = str(_PACKED) if _PACKED.exists() else None
        self._observer = observer or EmbeddedMetrics()
        certificates = environ.get(CERTIFICATES, "").strip() or packed
        strategies = strategies_of(read_plans(text), store, sslrootcert=certificates, observer=self._observer)
        self._rotation = Rotation(store, strategies, observer=self._observer)

    def __call__(self, event: Mapping[str, Any], context: object = None) -> None:
        """Do the step that the event asks for. Raises `RotationError` or `SecretError`, which never hold a value."""
        try:
            self._rotation.handle(event)
        finally:
            # The process is frozen as soon as this returns.
            self._observer.flush()


_function: RotationFunction | None = None


def handler(event: Mapping[str, Any], context: object) -> None:
    """Do one step of a rotation; what Lambda calls."""
    global _function  # noqa: PLW0603 - Lambda keeps the process, and with it connections to AWS, between invocations
    if _function is None:
        from tegata_credentials.rotation.aws_store import AwsVersions

        _function = RotationFunction(os.environ, AwsVersions())
    _function(event, context)
