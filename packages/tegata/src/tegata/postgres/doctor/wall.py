"""What a wall between tenants is made of: the names that the doctor must be told. The rest it asks the catalogue.

`TEGATA` is Tegata's own. Another project describes its own, in Python or as TOML.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from tegata.postgres.bootstrap import APPLICATION, MAINTENANCE, OWNER, SCHEMA

_NAME = re.compile(r"[^\s.\"']+")
_FUNCTION = re.compile(r"[^\s\"']+\(\)")
_RIGHTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wall:
    """The names of one wall. Tables and functions are written with their schema, as PostgreSQL prints them."""

    schemas: tuple[str, ...]  # where tenants' tables are
    application: tuple[str, ...]  # roles that serve one tenant at a time
    owner: str | None = None  # the role that owns the tables, if the doctor may become it to make its canaries
    trusted: tuple[str, ...] = ()  # roles that may see every tenant: owner, maintenance, backup
    tenant_column: str = "tenant_id"
    tenant_type: str = "uuid"
    tenant_table: str  # the table with one row for each tenant
    tenant_key: str = "id"  # its primary key
    setting: str  # the setting that holds the tenant, e.g. app.tenant_id
    context: str | None = None  # the function that reads it, e.g. app.current_tenant()
    # The conditions a policy may have, as pg_get_expr prints them with an empty search path; {column} stands for the
    # tenant's column. Made from `context` if left out.
    conditions: tuple[str, ...] = ()
    # What a query without a tenant does: raises one of `missing`, or finds nothing.
    without_tenant: Literal["error", "nothing"] = "error"
    missing: frozenset[str] = frozenset()  # SQLSTATEs
    exempt: Mapping[str, frozenset[str]] = field(
        default_factory=dict
    )  # tables of no tenant, and the application's rights
    definers: tuple[str, ...] = ()  # SECURITY DEFINER functions that are meant to be there
    publications: tuple[str, ...] = ()  # that are meant to carry every tenant's rows

    def __post_init__(self) -> None:
        if not self.schemas or not self.application:
            raise ValueError("a wall needs at least one schema and one application role")
        for name in (*self.schemas, *self.application, *self.all_trusted, self.tenant_column, self.tenant_key):
            if _NAME.fullmatch(name) is None:
                raise ValueError(f"{name!r} is not the name of a schema, role or column")
        if self.context is None and not self.conditions:
            raise ValueError("a wall needs the context function or the conditions of its policies")
        if self.context is not None and _FUNCTION.fullmatch(self.context) is None:
            raise ValueError(f"{self.context!r} is not written like app.current_tenant()")
        for table in (self.tenant_table, *self.exempt):
            if len(table.split(".")) != 2:
                raise ValueError(f"{table!r} is not written like schema.table")
        wrong = {right for rights in self.exempt.values() for right in rights} - _RIGHTS
        if wrong:
            raise ValueError(f"{', '.join(sorted(wrong))}: rights are {', '.join(sorted(_RIGHTS))}")
        if self.without_tenant not in {"error", "nothing"}:
            raise ValueError("without_tenant is error or nothing")

    @property
    def all_trusted(self) -> tuple[str, ...]:
        """The trusted roles, the owner among them."""
        return tuple(dict.fromkeys((*([self.owner] if self.owner else []), *self.trusted)))

    @property
    def expected(self) -> tuple[str, ...]:
        """The conditions a policy may have, with {column} in them."""
        if self.conditions or self.context is None:
            return self.conditions
        name = self.context.removesuffix("()").rpartition(".")[2]
        return (f"({{column}} = ( SELECT {self.context} AS {name}))",)

    def column_of(self, table: str) -> str:
        """Return the name of the column that holds the tenant in `schema.table`."""
        return self.tenant_key if table == self.tenant_table else self.tenant_column

    @classmethod
    def from_toml(cls, text: str) -> Wall:
        """Read a description: one key for each attribute, `exempt` a table of lists. Raises `ValueError`."""
        found = tomllib.loads(text)
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(found) - known)
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: not known; there are {', '.join(sorted(known))}")
        exempt = found.pop("exempt", {})
        if not isinstance(exempt, dict) or not all(_is_words(rights) for rights in exempt.values()):
            raise ValueError("exempt is a table of lists of rights")
        lists = {"schemas", "application", "trusted", "conditions", "definers", "publications", "missing"}
        for name, value in found.items():
            if not (_is_words(value) if name in lists else isinstance(value, str)):
                raise ValueError(f"{name} is a {'list of texts' if name in lists else 'text'}")
        values: dict[str, Any] = {name: tuple(value) if name in lists else value for name, value in found.items()}
        if "missing" in values:
            values["missing"] = frozenset(values["missing"])
        try:
            return cls(**values, exempt={table: frozenset(rights) for table, rights in exempt.items()})
        except TypeError as error:
            raise ValueError(str(error).replace("Wall.__init__() ", "")) from None


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


TEGATA = Wall(
    schemas=(SCHEMA,),
    application=(APPLICATION,),
    owner=OWNER,
    trusted=(OWNER, MAINTENANCE),
    tenant_table=f"{SCHEMA}.tenant",
    tenant_key="tenant_id",
    setting="app.tenant_id",
    context=f"{SCHEMA}.current_tenant()",
    missing=frozenset({"TG001"}),
    exempt={f"{SCHEMA}.tenant_directory": frozenset(), f"{SCHEMA}.schema_version": frozenset({"SELECT"})},
    definers=(f"{SCHEMA}.find_tenant(text)",),
)
