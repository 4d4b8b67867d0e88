"""AWS RDS and Aurora: login tokens signed with the IAM credentials of this process, without any network call."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from typing import Any

from tegata_credentials.errors import CredentialError, missing_extra
from tegata_credentials.threads import InThread
from tegata_credentials.token_state import Token

# A token lives 15 minutes. Said to live 750 s it is renewed after 10 minutes, and 150 s stay for clocks that differ
# and for session credentials that end before the token they signed.
LIFE_SECONDS = 750.0

_RDS_NAME = re.compile(
    r"[a-z0-9.-]+\.(?:(?P<region>[a-z]{2}(?:-[a-z]+)+-[0-9])\.rds|rds\.(?P<region_cn>[a-z]{2}(?:-[a-z]+)+-[0-9]))"
    r"\.amazonaws\.com(?:\.cn)?\.?",
    re.IGNORECASE | re.ASCII,
)


class SyncRdsIamTokens:
    """Signs tokens for one host, port and user, for threads. A reader and a writer host need one each.

    `host` is the name that the connection is made to. A name of your own (a CNAME) is not what AWS verifies: give
    the real one of the instance, cluster or proxy as `sign_for_host`. `region` is read from that name if not given.
    `session` is a `boto3.Session`; without one the usual places are searched, and searched again after `discard`.
    Raises `CredentialError`. Amazon RDS User Guide, "Connecting to your DB instance using IAM authentication".
    """

    def __init__(
        self,
        *,
        host: str,
        port: int = 5432,
        user: str,
        region: str | None = None,
        session: Any = None,
        sign_for_host: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._host = sign_for_host or host
        found = _RDS_NAME.fullmatch(self._host)
        if found is None and sign_for_host is None:
            raise CredentialError(
                f"{host} is not a name that RDS gives: a token is signed for the real endpoint, "
                "so give that as sign_for_host"
            )
        self._region = region or (found and (found["region"] or found["region_cn"]))
        if not self._region:
            raise CredentialError(f"the AWS region is not visible in {self._host}: give it as region")
        self._port = port
        self._user = user
        self._session = session
        self._clock = clock
        self._lock = threading.Lock()
        self._client: Any = None
        _import()

    def fetch(self) -> Token:
        """Sign a token. Raises `IdentityUnavailable`."""
        boto3 = _import()
        if self._client is None:
            session = self._session or boto3.Session()
            self._client = session.client("rds", region_name=self._region)
        value = self._client.generate_db_auth_token(
            DBHostname=self._host, Port=self._port, DBUsername=self._user, Region=self._region
        )
        return Token(value, self._clock() + LIFE_SECONDS)

    def discard(self) -> None:
        """Look for IAM credentials again at the next `fetch`."""
        self._client = None

    def close(self) -> None:
        """Forget the IAM credentials."""
        self._client = None


class RdsIamTokens(InThread):
    """Signs tokens for one host, port and user, for asyncio. The arguments are those of `SyncRdsIamTokens`."""

    def __init__(
        self,
        *,
        host: str,
        port: int = 5432,
        user: str,
        region: str | None = None,
        session: Any = None,
        sign_for_host: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            SyncRdsIamTokens(
                host=host,
                port=port,
                user=user,
                region=region,
                session=session,
                sign_for_host=sign_for_host,
                clock=clock,
            )
        )


def _import() -> Any:
    try:
        import boto3
    except ImportError as error:
        raise missing_extra("aws", "boto3") from error
    return boto3
