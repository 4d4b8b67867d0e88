"""Apache with Debian's mod_auth_openidc as a whole relying party, in a folder of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tegata_credentials.testing import free_port

from .contract import Client, Tenant
from .node import missing

MODULES = Path("/usr/lib/apache2/modules")
PATIENCE_SECONDS = 60
NEEDED = ("mpm_event", "authz_core", "authn_core", "authz_user", "headers", "dir", "mime", "auth_openidc")

# The redirect URI lies inside the protected path and is answered by the module itself.
CONFIGURATION = """
ServerRoot {folder}
ServerName {public}
PidFile {folder}/apache.pid
ErrorLog {folder}/error.log
LogLevel warn auth_openidc:info
Mutex file:{folder} default
Listen 127.0.0.1:{port}
{modules}
{identity}
DocumentRoot {folder}/site
TypesConfig /dev/null
AddType text/html .html
StartServers 1
ThreadsPerChild 8
MaxRequestWorkers 8

OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client_id}
OIDCClientSecret {client_secret}
OIDCProviderTokenEndpointAuth {method}
OIDCRedirectURI {redirect_uri}
OIDCCryptoPassphrase {passphrase}
OIDCScope "openid profile email"
OIDCPKCEMethod S256
OIDCResponseMode {response_mode}
OIDCRemoteUserClaim sub
OIDCPassClaimsAs environment
OIDCCookieSameSite On
OIDCHTTPTimeoutLong {patience}
OIDCHTTPTimeoutShort {patience}

<Location />
  AuthType openid-connect
  Require valid-user
  Header always set X-Remote-User "expr=%{{REMOTE_USER}}"
  Header always set X-Claim-Sub "%{{OIDC_CLAIM_sub}}e"
  Header always set X-Claim-Email "%{{OIDC_CLAIM_email}}e"
</Location>
"""


@contextmanager
def relying_party(tenant: Tenant, client: Client, redirect_uri: str, response_mode: str) -> Iterator[tuple[int, Path]]:
    """Run Apache as a child of this process; give its port and the log it writes."""
    binary = shutil.which("apache2", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if binary is None:
        missing("Debian package apache2")
    if not (MODULES / "mod_auth_openidc.so").exists():
        missing("Debian package libapache2-mod-auth-openidc")
    with tempfile.TemporaryDirectory(prefix="tegata-rp-") as place:
        folder, port = Path(place), free_port()
        _lay_out(folder)
        text = CONFIGURATION.format(
            folder=folder,
            public=redirect_uri.split("/")[2],
            port=port,
            modules="\n".join(f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in NEEDED),
            identity=_identity(folder),
            issuer=tenant.issuer,
            client_id=client.client_id,
            client_secret=client.client_secret,
            method=client.token_endpoint_auth_method,
            redirect_uri=redirect_uri,
            passphrase=os.urandom(16).hex(),
            response_mode=response_mode,
            patience=PATIENCE_SECONDS,
        )
        (folder / "apache.conf").write_text(text, encoding="utf-8")
        command = [binary, "-f", str(folder / "apache.conf"), "-D", "FOREGROUND"]
        with (folder / "output.log").open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, folder)
            yield port, folder / "error.log"
        finally:
            process.terminate()
            process.wait(PATIENCE_SECONDS)


def _lay_out(folder: Path) -> None:
    folder.chmod(0o755)
    site = folder / "site"
    site.mkdir()
    (site / "index.html").write_text("<!doctype html><p>protected</p>", encoding="utf-8")


def _identity(folder: Path) -> str:
    """Apache refuses to serve as root; an ordinary user's Apache stays that user."""
    if os.geteuid() != 0:
        return ""
    account = pwd.getpwnam("www-data")
    os.chown(folder, account.pw_uid, account.pw_gid)
    return "User www-data\nGroup www-data"


def _wait(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    logs = (folder / "output.log", folder / "error.log")
    raise RuntimeError("\n".join(log.read_text(errors="replace") for log in logs if log.exists()))
