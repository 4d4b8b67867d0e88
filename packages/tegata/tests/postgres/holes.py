"""A hole in the wall, as test data: statements that make it, and what the doctor must say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hole:
    """Statements that make a hole (as superuser), what the doctor must say, and how roles are mended afterwards.

    `checks` are all checks that find something, no more and no fewer; `object` is part of what one of them names.
    """

    make: str
    checks: frozenset[str]
    object: str
    mend: str = ""


FENCED = """
    alter table tegata.{0} owner to tegata_owner;
    alter table tegata.{0} enable row level security;
    alter table tegata.{0} force row level security;
    create policy tenant_allow on tegata.{0} for all to tegata_app
      using (tenant_id = (select tegata.current_tenant())) with check (tenant_id = (select tegata.current_tenant()));
    create policy tenant_iso on tegata.{0} as restrictive for all to tegata_app
      using (tenant_id = (select tegata.current_tenant())) with check (tenant_id = (select tegata.current_tenant()));
    create policy maint_all on tegata.{0} for all to tegata_maint, tegata_owner using (true) with check (true);
"""
TABLE = """
    create table tegata.extra (
      tenant_id uuid not null references tegata.tenant, id uuid, primary key (tenant_id, id));
"""


def hole(make: str, checks: str, what: str, mend: str = "") -> Hole:
    return Hole(make, frozenset(checks.split()), what, mend)
