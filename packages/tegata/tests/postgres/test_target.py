"""One value, two drivers: a connection target reads URLs and shows no secret."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from tegata.postgres.target import ConnectionTarget


def test_a_url_is_read_for_both_drivers() -> None:
    target = ConnectionTarget.from_url(
        "postgresql+asyncpg://ann:s%40crt@db.example:6432/main?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3"
    )
    assert (target.host, target.port, target.user, target.database) == ("db.example", 6432, "ann", "main")
    assert conninfo_to_dict(target.psycopg_conninfo()) | {"port": "6432"} == {
        "host": "db.example",
        "port": "6432",
        "user": "ann",
        "dbname": "main",
        "password": "s@crt",
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "connect_timeout": "3",
    }
    arguments = target.asyncpg_arguments()
    assert arguments["password"] == "s@crt"
    assert arguments["dsn"] == "postgresql://?sslmode=verify-full&sslrootcert=%2Fca.pem"


def test_a_role_is_part_of_the_login() -> None:
    target = ConnectionTarget.from_url("postgresql:///main?host=/run/pg").taking_role("tegata_app")
    assert target.asyncpg_arguments()["server_settings"] == {"application_name": "tegata", "role": "tegata_app"}
    assert conninfo_to_dict(target.psycopg_conninfo())["options"] == "-c role=tegata_app"


def test_neither_repr_nor_error_shows_the_password() -> None:
    assert "hunter2" not in repr(ConnectionTarget.from_url("postgresql://ann:hunter2@db/main"))
    with pytest.raises(ValueError, match="not a PostgreSQL") as refused:
        ConnectionTarget.from_url("postgresql://ann:hunter2@[db/main")
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
