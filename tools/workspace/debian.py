"""Debian packages that the tests drive: asked for only when missing, installed only when we are root."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from .environment import SetupError, announce, own_variables, run


@dataclass(frozen=True)
class DebianPackage:
    """One package, how to see that it is there, and which tests need it."""

    name: str
    programs: tuple[str, ...]
    tests: str
    may_install: bool = True

    def is_present(self) -> bool:
        """Whether one of its programs or files can be found; `sbin` is not on everybody's path."""
        places = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        return any(Path(name).exists() or shutil.which(name, path=places) for name in self.programs)


# apache2-bin rather than apache2: the tests start their own server, so no service must be set up.
WANTED = (
    DebianPackage("chromium", ("chromium", "chromium-browser", "google-chrome"), "the pages in a real browser"),
    DebianPackage("apache2-bin", ("apache2",), "Apache as a relying party"),
    DebianPackage(
        "libapache2-mod-auth-openidc",
        ("/usr/lib/apache2/modules/mod_auth_openidc.so",),
        "Apache as a relying party",
    ),
    DebianPackage("curl", ("curl",), "the lines that `tegata dev` prints"),
    DebianPackage("pgbouncer", ("pgbouncer",), "a transaction pooler between Tegata and PostgreSQL"),
    DebianPackage("nginx", ("nginx",), "the chain of Plan B, Tegata in containers"),
    DebianPackage("bubblewrap", ("bwrap",), "Tegata in containers"),
    DebianPackage("openssl", ("openssl",), "Tegata in containers"),
    DebianPackage("shellcheck", ("shellcheck",), "the boot script of nginx's instances"),
    # Only spoken of: installing it would make and start a database of the machine's own.
    DebianPackage("postgresql-15", ("/usr/lib/postgresql/15/bin/postgres",), "the oldest PostgreSQL", False),
)


def prepare(root: Path) -> list[DebianPackage]:
    """Install what is missing if we may; return what is missing afterwards."""
    missing = [package for package in WANTED if not package.is_present()]
    names = [package.name for package in missing if package.may_install]
    if not names or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return missing
    announce(f"installing Debian packages: {' '.join(names)}")
    # The tests start their own servers: in runlevel 1 invoke-rc.d starts none that a package brings.
    variables = {**own_variables(), "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        run(["apt-get", "update", "-qq"], cwd=root, variables=variables)
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *names], cwd=root, variables=variables)
    except SetupError as error:
        announce(f"{error}; the tests that need them will be skipped")
    return [package for package in missing if not package.is_present()]
