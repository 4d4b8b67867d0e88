"""Rotation of PostgreSQL passwords. The strategies import no driver; `psycopg_sessions` does."""

from __future__ import annotations

from tegata_credentials.rotation.postgres.administrator import Administrator
from tegata_credentials.rotation.postgres.alternating_users import AlternatingUsers
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.proof import Proof
from tegata_credentials.rotation.postgres.secret import DatabaseSecret, Login, Place
from tegata_credentials.rotation.postgres.sessions import LoginRefused, Session, Sessions, StatementFailed
from tegata_credentials.rotation.postgres.single_user import SingleUser

__all__ = [
    "Administrator",
    "AlternatingUsers",
    "DatabaseSecret",
    "Login",
    "LoginPair",
    "LoginRefused",
    "Place",
    "Proof",
    "Session",
    "Sessions",
    "SingleUser",
    "StatementFailed",
]
