"""A laboratory for passwordless logins: a cloud on loopback whose tokens a real PostgreSQL checks at each login.

It owns the make-believe cloud and imports nothing of the rest of the kit, so that a fault there cannot hide here.
It needs the extra `testing`, no test framework, and a PostgreSQL built with LDAP:

    with Laboratory() as lab:
        lab.map_role("app")
        settings, endpoint = server_settings(lab, "writer")
        ...                                       # start PostgreSQL with these settings, create the role "app"
        os.environ.update(lab.app_service())      # and use the kit, or azure-identity itself
        lab.issuer.lifetime_seconds = 3
"""

from __future__ import annotations

from .authority import Authority, ServerCertificate
from .identity import Behaviour, IdentityCall
from .issuer import AUDIENCE, IssuedToken, TokenIssuer
from .laboratory import REGION, SYSTEM_ASSIGNED, Bind, Laboratory
from .leaks import find_leaks, text_of
from .ports import free_port
from .postgres import server_settings
from .rds import AccessKey, Endpoint, RdsVerifier
from .web import Answer

__all__ = [
    "AUDIENCE",
    "REGION",
    "SYSTEM_ASSIGNED",
    "AccessKey",
    "Answer",
    "Authority",
    "Behaviour",
    "Bind",
    "Endpoint",
    "IdentityCall",
    "IssuedToken",
    "Laboratory",
    "RdsVerifier",
    "ServerCertificate",
    "TokenIssuer",
    "find_leaks",
    "free_port",
    "server_settings",
    "text_of",
]
