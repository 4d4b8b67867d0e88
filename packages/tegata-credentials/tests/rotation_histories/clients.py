"""I8: clients that know the secret through a service of their own, and log in whenever a history says so."""

from __future__ import annotations

import psycopg

from tegata_credentials.errors import CredentialError
from tegata_credentials.psycopg import connect
from tegata_credentials.secret_service.passwords import SyncSecretLogin
from tegata_credentials.secret_service.policy import CachePolicy
from tegata_credentials.secret_service.service import SecretService
from tegata_credentials.secret_service.timing import Timing

from .kits import Kit
from .ledger import Broken
from .servers import HOST, Servers

_REAL_SECONDS = 60.0


def service(kit: Kit, secret: str, policy: CachePolicy | None = None) -> SecretService:
    """Return a service of secrets in a history's time: to wait is to let time pass.

    What it reads in the background has been read before more time passes, or it would take hours by this clock.
    """
    timing = Timing(ticks=kit.clock, wall=kit.clock, share=lambda: 0.0, pause=kit.clock.advance)
    made = SecretService(kit.source(), policy=policy, timing=timing)

    def land() -> None:
        if (flight := made.reach(secret)[1].flight) is not None:
            flight.wait(_REAL_SECONDS)
            assert flight.is_landed, "a secret is read for ever"

    kit.clock.before.append(land)
    return made


class Client:
    """Opens a connection and asks who it is, again and again."""

    def __init__(self, kit: Kit, secret: str, servers: Servers, *, allow_pending: bool = False) -> None:
        self._service = service(kit, secret)
        self._login = SyncSecretLogin(self._service, secret, allow_pending=allow_pending)
        self._port = servers.port

    def connect(self) -> None:
        """Log in once. Raises `Broken` if the client sees an error."""
        try:
            with connect(f"host={HOST} port={self._port} dbname=postgres", password=self._login) as connection:
                connection.execute("select 1")
        except (psycopg.Error, CredentialError) as error:
            failure = f"{type(error).__name__}: {error}"
        else:
            return
        raise Broken(f"I8: a client sees {failure}")

    def close(self) -> None:
        """Forget the secret."""
        self._service.close()
