"""Two login roles that take turns, and the role that both become."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass

from tegata_credentials.errors import CredentialError
from tegata_credentials.rotation.errors import RotationRefused

_LONGEST = 63  # bytes, PostgreSQL documentation, "Identifiers and Key Words"


@dataclass(frozen=True, slots=True)
class LoginPair:
    """`group` owns everything and cannot log in; `first` and `second` log in and become `group`.

    Example:

        >>> LoginPair.of("app")
        LoginPair(group='app', first='app_a', second='app_b')
        >>> LoginPair.of("app").other("app_a")
        'app_b'
    """

    group: str
    first: str
    second: str

    def __post_init__(self) -> None:
        names = (self.group, self.first, self.second)
        if len(set(names)) < len(names):
            raise CredentialError("the group and the two login roles need three names")
        for name in names:
            check_name(name)

    @classmethod
    def of(cls, group: str) -> LoginPair:
        """Return the pair `<group>_a` and `<group>_b`."""
        return cls(group, f"{group}_a", f"{group}_b")

    @property
    def logins(self) -> tuple[str, str]:
        """Both login roles."""
        return self.first, self.second

    @property
    def setter_schema(self) -> str:
        """The schema of the function that sets the two passwords, see `setup`."""
        name = f"{self.group}_rotation"
        if len(name.encode()) <= _LONGEST:
            return name
        return f"rotation_{hashlib.sha256(self.group.encode()).hexdigest()[:32]}"

    def set_up(self, rotator: str | None = None) -> str:
        """Return the command that prints the SQL of the set-up; `rotator` is who is to set the passwords.

        >>> LoginPair.of("app").set_up(), LoginPair("app", "one", "two").set_up("turner")
        ('tegata-credentials pair --group app', 'tegata-credentials pair --group app --logins one two --rotator turner')
        """
        words = ["tegata-credentials", "pair", "--group", self.group]
        if self.logins != (f"{self.group}_a", f"{self.group}_b"):
            words += ["--logins", *self.logins]
        if rotator not in (None, f"{self.group}_rotator"):
            words += ["--rotator", str(rotator)]
        return shlex.join(words)

    def other(self, username: str) -> str:
        """Return whose turn is next. Raises `RotationRefused` for a role that is not of the pair."""
        if username not in self.logins:
            raise RotationRefused(f"the current user is neither {self.first} nor {self.second}: nobody's turn is next")
        return self.second if username == self.first else self.first


def check_name(name: str) -> None:
    """Refuse what PostgreSQL would cut off or could not hold. Raises `CredentialError`."""
    if not name or "\0" in name or len(name.encode()) > _LONGEST:
        raise CredentialError(f"a role's name has 1 to {_LONGEST} bytes")


def identifier(name: str) -> str:
    """Quote a name for SQL (PostgreSQL documentation, "Identifiers and Key Words")."""
    return '"' + name.replace('"', '""') + '"'
