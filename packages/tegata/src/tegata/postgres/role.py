"""Whether row-level security holds the role that statements run as to one tenant (pitfalls P14)."""

from __future__ import annotations

# By the role that statements run as: where a session enters as an administrator and takes the application role in its
# start-up packet (`tegata dev` on somebody's own server), that is the application role.
UNBOUND = """
    select case when r.rolsuper then 'a superuser'
                when r.rolbypassrls then 'exempt from row-level security'
                when pg_has_role(current_user, to_regrole('tegata_owner'), 'MEMBER') then 'a member of the owner'
                when pg_has_role(current_user, to_regrole('tegata_maint'), 'MEMBER') then 'a member of maintenance' end
      from pg_roles r where r.rolname = current_user
"""
