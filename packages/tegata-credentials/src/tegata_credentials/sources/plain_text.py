"""What a store without versions of its own holds: a checked text, and a name for it that tells nothing of it."""

from __future__ import annotations

import hashlib
import re
import secrets

from tegata_credentials.errors import SecretMalformed, SecretNotFound
from tegata_credentials.token_state import HiddenText
from tegata_credentials.versions import CURRENT, SecretVersion

MAX_BYTES = 65_536
"""As large as a secret of AWS Secrets Manager may be (User Guide, "AWS Secrets Manager quotas")."""

_ONE_VERSION = "this store keeps one version, the current one"


class OneVersion:
    """Makes versions of texts. The key is new in each process: a version cannot be compared elsewhere, nor guessed.

    >>> versions = OneVersion()
    >>> found = versions.of("api-key", "s3cr3t")
    >>> found == versions.of("api-key", "s3cr3t")
    True
    >>> "s3cr3t" in repr(found)
    False
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def of(self, secret: str, text: str) -> SecretVersion:
        """Return the current version. Raises `SecretMalformed` if it is empty or no text."""
        checked = check_text(secret, text)
        digest = hashlib.blake2b(checked.encode(), key=self._key, digest_size=16).hexdigest()
        return SecretVersion(secret, digest, checked, frozenset({CURRENT}))


def check_text(secret: str, text: str) -> HiddenText:
    """Return the text. Raises `SecretMalformed` if it is empty, too long, or holds what is no text."""
    if not text:
        raise SecretMalformed(secret, "is empty: write the value there")
    if "\0" in text or re.search("[\ud800-\udfff]", text):
        raise SecretMalformed(secret, "is not UTF-8 text: keep binary values as base64")
    if len(text.encode()) > MAX_BYTES:
        raise SecretMalformed(secret, f"is larger than {MAX_BYTES // 1024} KiB")
    return HiddenText(text)


def decode(secret: str, raw: bytes) -> str:
    """Return the text that the bytes are. Raises `SecretMalformed`."""
    if len(raw) > MAX_BYTES:
        raise SecretMalformed(secret, f"is larger than {MAX_BYTES // 1024} KiB")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass  # its object holds the bytes
    raise SecretMalformed(secret, "is not UTF-8 text: keep binary values as base64")


def check_stage(secret: str, stage: str) -> None:
    """Raise `SecretNotFound` for every label but AWSCURRENT."""
    if stage != CURRENT:
        raise SecretNotFound(secret, f"has no version with the label {stage}: {_ONE_VERSION}")
