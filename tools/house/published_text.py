"""What no tracked file may hold: addresses packages come from, paths of one machine, private keys."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .source import Finding, Source

# Spelt in parts, so that this file does not hold what it looks for.
_HOSTS = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("registry", "npmjs", "org"),
    ("npmjs", "com"),
    ("deb", "debian", "org"),
    ("crates", "io"),
    ("proxy", "golang", "org"),
    ("maven", "org"),
)
_DIRECTORIES = ("home", "root", "work", "workspace", "Users", "mnt")

FORBIDDEN = (
    (re.compile("|".join(r"\.".join(host) for host in _HOSTS)), "an address that packages are downloaded from"),
    (re.compile(rf"(?<![\w.~:}}\])/-])/(?:{'|'.join(_DIRECTORIES)})/[\w.]"), "an absolute path of somebody's machine"),
    (re.compile(r"-----BEGIN (?:\w+ )?PRIVATE " + "KEY-----"), "a private key: generate it in the test"),
    (re.compile(r'"resolved"\s*:\s*"' + "https?:"), "a lock file that records download addresses"),
)


def check(source: Source) -> Iterator[Finding]:
    """Find them, in files of every kind."""
    for number, line in enumerate(source.text.splitlines(), start=1):
        for pattern, what in FORBIDDEN:
            if pattern.search(line):
                yield Finding("published-text", source.path, number, what)
