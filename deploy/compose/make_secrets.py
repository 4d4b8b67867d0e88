"""Makes what compose.yaml reads as secrets: passwords, the master key, a certificate. Run it once; Python and openssl.

    python3 deploy/compose/make_secrets.py [DIRECTORY]

What is there stays as it is, so it may be run again: a new master key could open nothing that the old one has sealed.
The folder is for its owner alone. The files in it can be read by everybody, because in a container they belong to whom
they belong to here, and the processes there are users 10001, 999 and 101.
"""

from __future__ import annotations

import argparse
import base64
import secrets
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent / "secrets"
SOCKET = "/var/run/postgresql"
LOGINS = {"tegata_app": "database_url", "tegata_maint": "maintenance_url", "tegata_migrator": "migration_url"}
CERTIFICATE_DAYS = 90


def main(arguments: list[str]) -> None:
    """Make what is missing."""
    parser = argparse.ArgumentParser(description="Makes what compose.yaml reads as secrets; what is there stays.")
    parser.add_argument("directory", nargs="?", type=Path, default=HERE, help="where to (%(default)s)")
    make(parser.parse_args(arguments).directory)


def make(directory: Path) -> None:
    """Make what is missing in the directory."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    administrator = keep(directory / "postgres_password", secrets.token_urlsafe(32))
    keep(directory / "bootstrap_url", url("postgres", administrator))
    made = "".join(f"{role}={secrets.token_urlsafe(32)}\n" for role in LOGINS)
    passwords = dict(line.split("=", 1) for line in keep(directory / "logins", made).splitlines())
    for role, name in LOGINS.items():
        keep(directory / name, url(role, passwords[role]))
    keep(directory / "master_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
    keep(
        directory / "valkey_users", f"user default off\nuser app on >{secrets.token_urlsafe(32)} ~* &* +@all -@admin\n"
    )
    certificate(directory / "tls_certificate", directory / "tls_key")


def url(role: str, password: str) -> str:
    """Return the way into the database. The password needs no quoting: it is made of letters, digits, - and _."""
    return f"postgresql://{role}:{password}@/tegata?host={SOCKET}"


def keep(path: Path, text: str) -> str:
    """Write the file unless it is there; return what it holds."""
    if not path.exists():
        path.write_text(text)
        print(f"made {path.name}")
    path.chmod(0o444)
    return path.read_text()


def certificate(path: Path, key: Path) -> None:
    """Make a certificate for this machine that signs itself: browsers warn, and `curl --cacert` believes it."""
    if not (path.exists() and key.exists()):
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        words += ["-days", str(CERTIFICATE_DAYS), "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(path)]
        words += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run(words, check=True, stderr=subprocess.DEVNULL)  # noqa: S603 - words of ours, no shell
        print(f"made {path.name} and {key.name}, for {CERTIFICATE_DAYS} days")
    path.chmod(0o444)
    key.chmod(0o444)


if __name__ == "__main__":
    main(sys.argv[1:])
