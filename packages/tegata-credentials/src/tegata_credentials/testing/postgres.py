"""What a PostgreSQL must be started with so that each login over TCP is judged by the laboratory.

Start it as you like (`postgres -D data -c name=value ...`): version 15 or later, built with LDAP and OpenSSL.
"""

from __future__ import annotations

from .laboratory import REGION, Laboratory
from .ports import free_port
from .rds import Endpoint


def server_settings(laboratory: Laboratory, server: str, *, host: str = "127.0.0.1") -> tuple[dict[str, str], Endpoint]:
    """Return the server's settings and the address that clients use, `host` being a name of 127.0.0.1.

    Whoever reaches the Unix socket is let in; over TCP, TLS and a token that the laboratory accepts are needed. The
    files stay in the laboratory's directory and are removed with it.
    """
    endpoint = Endpoint(host, free_port(), REGION)
    laboratory.serve_database(server, endpoint)
    certificate = laboratory.authority.issue(server, host)
    rules = laboratory.files / f"{server}-hba.conf"
    ask = f'ldap ldapserver=127.0.0.1 ldapport={laboratory.directory_port} ldapprefix="cn=" ldapsuffix=",ou={server}"'
    rules.write_text(f"local all all trust\nhostssl all all 127.0.0.1/32 {ask}\nhost all all all reject\n")
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(endpoint.port),
        "hba_file": str(rules),
        "ssl": "on",
        "ssl_cert_file": str(certificate.certificate),
        "ssl_key_file": str(certificate.key),
    }
    return settings, endpoint
