"""Which tables the job queue brings, and in which schema they lie."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from importlib.resources import files

JOBS_SCHEMA = "tegata_jobs"

# What the newest revision that touches the schema has installed, whatever the library's version was.
INSTALLED_DIGEST = "c70ec4b400a60ad9592787653aae5ae77ae41bf801d56b5bd2712751a07f2009"


@dataclass(frozen=True, slots=True)
class LibrarySchema:
    """The SQL that the installed library wants."""

    version: str
    text: str

    @property
    def digest(self) -> str:
        """What tells this text from that of another release."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def comment(self) -> str:
        """What is kept beside the tables, for the revisions to come."""
        return f"procrastinate {self.version} sha256:{self.digest}"


def library_schema() -> LibrarySchema:
    """Return what the installed library brings."""
    text = files("procrastinate").joinpath("sql", "schema.sql").read_text(encoding="utf-8")
    return LibrarySchema(version("procrastinate"), text)
