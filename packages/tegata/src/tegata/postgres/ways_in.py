"""What is wrong with a database URL, in one sentence with the cure; never the URL itself, which may hold a secret."""

from __future__ import annotations

from dataclasses import dataclass

from tegata.postgres.target import ConnectionTarget, connection_options

_WEAKER = "add sslmode=verify-full (and sslrootcert)"


@dataclass(frozen=True, slots=True)
class WayRules:
    """What the settings say about logins."""

    auth_method: str = "password"
    allow_unverified_tls: bool = False

    @property
    def uses_tokens(self) -> bool:
        """Whether a login proves itself with a token, which goes over the wire as it is."""
        return self.auth_method not in ("password", "secret")

    def problem(self, name: str, url: str, *, may_hold_password: bool = False) -> str | None:
        """Return why the URL of the setting `name` cannot be used, or None."""
        try:
            target = ConnectionTarget.from_url(url)
        except ValueError as error:
            return f"{name} cannot be used: {error}"
        if may_hold_password:
            return self._transport(name, target)
        if self.auth_method != "password" and target.password is not None:
            return (
                f"{name} holds a password, which TEGATA_DATABASE_AUTH={self.auth_method} does not use; take it out of "
                "the URL, and change it in the database: it has been written down"
            )
        return self._place(name, url) or self._transport(name, target)

    def _place(self, name: str, url: str) -> str | None:
        """With a secret the URL says where the database is and nothing else."""
        if self.auth_method != "secret":
            return None
        named = connection_options(url)
        if "user" in named:
            return f"{name} names a user, who comes from the secret as the password does; take it out of the URL"
        if "dbname" not in named:
            return f"{name} names no database; write it behind the host, e.g. postgresql://db.example.com/tegata"
        return None

    def _transport(self, name: str, target: ConnectionTarget) -> str | None:
        if self.allow_unverified_tls or target.is_local:
            return None
        mode = dict(target.options).get("sslmode")
        # With a token, verify-full is what the connection does when nothing is said.
        if mode == "verify-full" or (mode is None and self.uses_tokens and target.password is None):
            return None
        return (
            f"{name} names a remote host without sslmode=verify-full; {_WEAKER}, or set "
            "TEGATA_ALLOW_UNVERIFIED_DATABASE_TLS=true"
        )
