"""What secrets are called: `{project}-{environment}-secret-{database|jwt|external-apis}`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tegata_credentials.errors import CredentialError

DATABASE, JWT, EXTERNAL_APIS = "database", "jwt", "external-apis"
SHORT_NAMES = (DATABASE, JWT, EXTERNAL_APIS)

# What AWS Secrets Manager allows in a name (CreateSecret, parameter Name).
_ALLOWED = re.compile(r"[A-Za-z0-9/_+=.@-]+")


@dataclass(frozen=True, slots=True)
class SecretNames:
    """Turns the three short names into full ones; every other name, an ARN or a reference stays as it is.

    >>> names = SecretNames("goal-mandala", "prod")
    >>> names.expand("database")
    'goal-mandala-prod-secret-database'
    >>> names.expand("payments/webhook")
    'payments/webhook'
    """

    project: str
    environment: str

    def __post_init__(self) -> None:
        for field, text in (("project", self.project), ("environment", self.environment)):
            if not _ALLOWED.fullmatch(text):
                raise CredentialError(f"{field} may hold letters, digits and /_+=.@- only, and is not empty")

    def expand(self, name: str) -> str:
        """Return the full id of a secret."""
        return f"{self.project}-{self.environment}-secret-{name}" if name in SHORT_NAMES else name
