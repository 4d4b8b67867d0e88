"""What plans and the set-up may call a role of PostgreSQL: nothing that SQL would want in quotes."""

from __future__ import annotations

import re

from tegata_credentials.errors import CredentialError

PATTERN = r"^[a-z_][a-z0-9_$]{0,62}$"


def check_role_name(field: str, name: str) -> None:
    """Refuse what no plan could say, in the words of the plans' reader. Raises `CredentialError`."""
    if re.fullmatch(PATTERN, name) is None:
        raise CredentialError(f"{field}: String should match pattern '{PATTERN}'")
