"""Without the extra that signs, everything else of rotation works, and what is missing is named."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("joserfc", "cryptography", "boto3", "psycopg", "pydantic"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.driver import RotationDriver
from tegata_credentials.rotation.file_store import FileVersions
from tegata_credentials.rotation.generic_token import GenericToken
from tegata_credentials.rotation.signing_ring import published_keys
from tegata_credentials.rotation.steps import Rotation
try:
    from tegata_credentials.rotation.signing_keys import SigningKeys
except CredentialError as error:
    print(error)
"""


def test_the_extra_for_signing_keys_is_named():
    said = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "`joserfc` is not installed: install `tegata-credentials[signing]`"
