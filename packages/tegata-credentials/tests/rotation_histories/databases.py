"""Worlds in which the secret opens a PostgreSQL: two users that take turns, or one that changes its own password."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import psycopg
from psycopg import sql

from tegata_credentials.errors import SecretNotFound
from tegata_credentials.rotation.ports import CURRENT, PENDING, Strategy
from tegata_credentials.rotation.postgres.administrator import Administrator
from tegata_credentials.rotation.postgres.alternating_users import AlternatingUsers
from tegata_credentials.rotation.postgres.pair import LoginPair
from tegata_credentials.rotation.postgres.proof import Proof
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.rotation.postgres.secret import Place
from tegata_credentials.rotation.postgres.setup import setup_statements
from tegata_credentials.rotation.postgres.single_user import SingleUser
from tegata_credentials.token_state import HiddenText

from .clients import Client
from .interruptions import InterruptedSessions, Points
from .kits import Kit
from .ledger import Broken, Ledger
from .servers import HOST, Servers
from .world import World

REST = 310.0  # as long as a client keeps a value, and the longest connection set-up
_NUMBERS = itertools.count(1)
_CHANGE = re.compile(r"set_verifier|alter role", re.IGNORECASE)
# A replica that follows does so within a millisecond or two; for one that lags nobody waits, to be told so is enough.
# Who comes in the middle of another step waits for it in vain; else a server that is busy has all the time it needs, to
# notice as well that a process is gone which had a lock.
_SESSIONS = PsycopgSessions(connect_timeout=60, statement_timeout=60.0, lock_timeout=60.0, environ={})
_IN_THE_MIDDLE = replace(_SESSIONS, lock_timeout=0.2)
_PROOF = Proof(patience=0.04, pause=0.002)


class Logins:
    """The two servers, as those who log in see them.

    A value that was let in is believed until the server has changed anything about the roles of this history: histories
    are mostly logins, and a login is mostly a new process.
    """

    def __init__(self, servers: Servers, group: str, *, becomes: str | None) -> None:
        self.servers = servers
        self.is_lagging = False
        self._group = group
        self._becomes = becomes
        self._let_in: dict[tuple[str, str, str], str] = {}

    def refusal(self, text: str) -> str | None:
        """Log in at the writer and at the reader, as clients do, and see who one is there."""
        document = json.loads(text)
        return self._refusal(document, "writer") or self._refusal(document, "reader")

    def refusal_of_retired(self, text: str) -> str | None:
        """Log in at the writer with a value out of a cache."""
        return self._refusal(json.loads(text), "writer")

    def _refusal(self, document: Mapping[str, Any], where: str) -> str | None:
        tried = (where, document["username"], document["password"])
        roles = self.servers.roles(self._group, at_reader=where == "reader")
        if self._let_in.get(tried) == roles:
            return None
        port = self.servers.port if where == "writer" else self.servers.reader_port
        try:
            with psycopg.connect(
                host=HOST, port=port, user=document["username"], password=document["password"], dbname="postgres"
            ) as connection:
                found = connection.execute("select current_user::text").fetchone()
        except psycopg.OperationalError:
            return f"by the {where}"
        if found != (self._becomes or document["username"],):
            return f"by the {where}, which makes somebody else of it"
        self._let_in[tried] = roles
        return None


class DatabaseWorld(World):
    """A database secret, its roles and a rotator, on the servers of this worker. Names are of this history alone."""

    opened: Logins
    rests: ClassVar = True
    points: ClassVar = {"createSecret": 11, "setSecret": 29, "testSecret": 20, "finishSecret": 24}

    def __init__(self, kit: Kit, servers: Servers, *, becomes: bool) -> None:
        number = next(_NUMBERS)
        self.servers = servers
        self.pair = LoginPair.of(f"h{number}")
        self.rotator = f"h{number}_rotator"
        self.opened = Logins(servers, self.pair.group, becomes=self.pair.group if becomes else None)
        self._passwords: list[str] = []
        self._make_roles()
        self._rotator_secret = f"h{number}/rotator"
        kit.create(self._rotator_secret, json.dumps({"username": self.rotator, "password": self._passwords[-1]}))
        secret = kit.create(f"h{number}/database", json.dumps(self._first_value()))
        ledger = Ledger(secret, kit.watched, self.opened, kit.clock, self.is_spent, self.stands_in)
        ledger.written += [HiddenText(json.dumps({"password": password})) for password in self._passwords]
        super().__init__(kit, secret, ledger)
        self.users_changed: list[tuple[str, str]] = []  # (user, token), in the order in which it was tried
        self._wrong: Place | None = None
        self._spent_early = False
        self._clients = [Client(kit, self.secret, servers, allow_pending=not becomes) for _ in range(2)]
        servers.news()
        servers.catch_up()

    # -- what the product is given

    def _sessions(self, points: Points) -> InterruptedSessions:
        is_in_the_middle = any(each.is_running for each in self.walked if each is not points)
        sessions = _IN_THE_MIDDLE if is_in_the_middle else _SESSIONS
        return InterruptedSessions(
            sessions, points, lambda place: self._wrong or place, self._noticed, self.servers.until_unlocked
        )

    def _noticed(self, statement: str, token: str | None) -> None:
        """Note that a user is given the password of `token`: only such a user's turn spends older values."""
        if _CHANGE.search(statement) and token is not None:
            self._check_rest()
            self.users_changed.append((json.loads(self._read(token).text)["username"], token))

    def _check_rest(self) -> None:
        """I2, where the store tells enough to keep it: nobody can have the value in a cache that is spent now."""
        moved = self.kit.watched.labels(self.secret).moved_at.get(CURRENT)
        if moved is not None and self.rests and self.clock() < moved + REST:
            self._spent_early = True  # raised where no handler of the product's is in between

    def _administrator(self, points: Points) -> Administrator:
        return Administrator(self._interrupted(points), self._rotator_secret)

    # -- what happens

    def happen(self, what: str) -> None:
        acts = {
            "replica lags": self._lag,
            "replica catches up": self._catch_up,
            "restart": self.servers.restart,
            "read only": lambda: self._set_read_only("on"),
            "writable": lambda: self._set_read_only("off"),
            "wrong host": self._point_elsewhere,
            "right host": self._point_right,
        }
        acts.get(what, lambda: None)()

    def heal(self) -> None:
        super().heal()
        self._catch_up()
        self._set_read_only("off")
        self._point_right()

    def settle(self) -> None:
        if not self.opened.is_lagging:
            self.servers.catch_up()

    def news(self) -> str:
        return self.servers.news()

    def client_connects(self, client: int) -> None:
        if self.is_lost():
            return  # a person has thrown the only password away; the next rotation ends that
        self._clients[client].connect()
        self.client_operations += 1

    def observe(self) -> None:
        super().observe()
        if self._spent_early:
            raise Broken("I2: a value was spent while somebody could have it in a cache")

    def close(self) -> None:
        super().close()
        for client in self._clients:
            client.close()
        self.heal()

    def is_lost(self) -> bool:
        """Whether somebody has taken the label off the only value that works."""
        return False

    def is_spent(self, version: str) -> bool:
        """Whether the user of a retired version has been given another password since."""
        kept = self.ledger.values.get(version)  # a store may have swept it away
        document = json.loads(self._read(version).text if kept is None else kept)
        tokens = [token for user, token in self.users_changed if user == document["username"]]
        if version in tokens:
            tokens = tokens[tokens.index(version) + 1 :]
        return any(token != version for token in tokens)

    def stands_in(self) -> bool:
        """Two users need nobody to stand in."""
        return False

    def _lag(self) -> None:
        self.servers.lag()
        self.opened.is_lagging = True

    def _catch_up(self) -> None:
        self.servers.catch_up()
        self.opened.is_lagging = False

    def _set_read_only(self, value: str) -> None:
        for role in (self.rotator, *self.pair.logins):
            self.servers.execute(
                sql.SQL("alter role {} set default_transaction_read_only = {}").format(
                    sql.Identifier(role), sql.Literal(value)
                )
            )

    def _point_elsewhere(self) -> None:
        # To the standby, as after a switch-over, and after that to where nobody listens.
        port = self.servers.reader_port if self._wrong is None else 1
        self._wrong = Place(HOST, port)

    def _point_right(self) -> None:
        self._wrong = None

    # -- the first day

    def set_up(self) -> None:
        """Make the roles, without passwords."""
        for statement in setup_statements(self.pair, self.rotator):
            self.servers.execute(statement)

    def _make_roles(self) -> None:
        self.set_up()
        for role in (*self.pair.logins, self.rotator):
            password = secrets.token_urlsafe(32)
            self._passwords.append(password)
            self.servers.set_password(role, password)

    def _first_value(self) -> dict[str, Any]:
        return {
            "username": self.pair.first,
            "password": self._passwords[0],
            "engine": "postgres",
            "host": HOST,
            "port": self.servers.port,
            "dbname": "postgres",
            "dbClusterIdentifier": "a key that rotation leaves alone",
            "readerHost": HOST,
            "readerPort": self.servers.reader_port,
        }


HAPPENINGS = (
    *("replica lags", "replica catches up", "restart", "read only", "writable", "wrong host", "right host"),
    *("replica lags", "restart", "read only", "wrong host"),
)


class AlternatingWorld(DatabaseWorld):
    """Two users that take turns. Nothing that was current is refused before its user's next turn."""

    def __init__(self, kit: Kit, servers: Servers) -> None:
        super().__init__(kit, servers, becomes=True)

    def strategy(self, points: Points) -> Strategy:
        administrator = self._administrator(points)
        # Heeded where the store knows since when a version is current, as files do.
        return AlternatingUsers(
            self._sessions(points), self.pair, administrator, proof=_PROOF, rest=REST, now=self.clock
        )


class SingleWorld(DatabaseWorld):
    """One user that changes its own password, with an administrator who helps out.

    From the change to finishSecret the current value is refused; the pending one works meanwhile.
    """

    rests: ClassVar = False
    points: ClassVar = {"createSecret": 11, "setSecret": 23, "testSecret": 20, "finishSecret": 24}

    def __init__(self, kit: Kit, servers: Servers) -> None:
        super().__init__(kit, servers, becomes=False)

    def set_up(self) -> None:
        for role, attributes in ((self.pair.first, ""), (self.pair.second, ""), (self.rotator, "superuser")):
            self.servers.execute(f"create role {role} login {attributes}")

    def strategy(self, points: Points) -> Strategy:
        return SingleUser(self._sessions(points), self._administrator(points), proof=_PROOF)

    def stands_in(self) -> bool:
        return self.is_lost() or self._pending_works()

    def is_lost(self) -> bool:
        """A person took the label off the value that the database had; what came after has not got through yet."""
        tokens = [token for _, token in self.users_changed]
        current = self.current()
        if current in tokens:
            tokens = tokens[tokens.index(current) + 1 :]
        was_taken = any(token in self.interfered for token in tokens)
        return was_taken and self.is_spent(current) and not self._pending_works()

    def _pending_works(self) -> bool:
        pending = self._holder(PENDING)
        try:
            return pending is not None and self.opened.refusal_of_retired(self._read(pending).text) is None
        except SecretNotFound:
            return False  # announced, and without a value yet
