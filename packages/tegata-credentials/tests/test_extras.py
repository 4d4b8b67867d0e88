"""What is not installed is named, with the words that install it; importing the package needs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import tegata_credentials
from tegata_credentials import CredentialError
try:
    {statement}
except CredentialError as error:
    print(error)
"""


def said_without(absent: tuple[str, ...], statement: str) -> str:
    code = WITHOUT.format(absent=absent, statement=statement)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("extra", "absent", "statement"),
    [
        ("asyncpg", ("asyncpg",), "import tegata_credentials.asyncpg"),
        ("psycopg", ("psycopg",), "import tegata_credentials.psycopg"),
        ("sqlalchemy", ("sqlalchemy",), "import tegata_credentials.sqlalchemy"),
        (
            "psycopg",
            ("psycopg_pool",),
            "from tegata_credentials.psycopg import pool; from tegata_credentials import SyncFixedPassword; "
            "pool(password=SyncFixedPassword('x'))",
        ),
        ("secrets", ("pydantic",), "import tegata_credentials.secret_service"),
        ("secrets", ("pydantic",), "from tegata_credentials.secret_service.names import SecretNames"),
        ("azure", ("azure",), "from tegata_credentials.azure import managed_identity; managed_identity()"),
        ("azure", ("azure",), "from tegata_credentials.azure import default_credential; default_credential()"),
        (
            "aws",
            ("boto3",),
            "from tegata_credentials.aws import RdsIamTokens; "
            "RdsIamTokens(host='a.b.eu-west-1.rds.amazonaws.com', user='u')",
        ),
    ],
)
def test_a_missing_extra_is_named(extra, absent, statement):
    assert f"install `tegata-credentials[{extra}]`" in said_without(absent, statement)


def test_the_package_itself_needs_nothing():
    absent = (
        "asyncpg",
        "psycopg",
        "psycopg_pool",
        "sqlalchemy",
        "azure",
        "boto3",
        "botocore",
        "certifi",
        "msal",
        "pydantic",
    )
    assert said_without(absent, "print('ready')") == "ready"
