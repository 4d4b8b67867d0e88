"""A server that says nothing any more, but whose machine still acknowledges what it is sent, holds nobody up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from tegata_credentials.rotation.errors import DatabaseConnectionError
from tegata_credentials.rotation.postgres import Login, Place
from tegata_credentials.rotation.postgres.psycopg_sessions import PsycopgSessions
from tegata_credentials.token_state import HiddenText

from .worlds import HOST

LONGEST = 60.0  # for a test that fails


class Between:
    """Passes bytes on to a server, and back until it is told to keep them."""

    def __init__(self, port: int | None) -> None:
        self.port_behind = port
        self.keeps = threading.Event()
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        self._open: list[socket.socket] = [self.listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self._open.append(client)
                if self.port_behind is None:
                    continue
                server = socket.create_connection((HOST, self.port_behind))
                self._open.append(server)
                for pair in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, back: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(4096):
                if not (back and self.keeps.is_set()):
                    target.sendall(piece)

    def close(self) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def between(server) -> Iterator[Between]:
    with closing(Between(server.port)) as made:
        yield made


def ended(act) -> list[BaseException]:
    """Return what `act` raises; a thread of its own, so that the test ends if it does not."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except DatabaseConnectionError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LONGEST)
    assert not thread.is_alive(), "it waits for ever"
    return raised


@pytest.mark.parametrize("act", ["execute", "commit"])
def test_a_server_that_falls_silent_is_given_up(world, between, act):
    document = world.document()
    login = Login(document["username"], HiddenText(document["password"]))
    sessions = PsycopgSessions(statement_timeout=2.0)  # enough for the first statement
    with closing(sessions.open(login, Place(HOST, between.port, "postgres"))) as session:
        session.execute("select 1")
        between.keeps.set()
        (error,) = ended(session.commit if act == "commit" else lambda: session.execute("select 2"))
    assert "broke" in str(error)


def test_a_server_that_never_says_anything_is_given_up():
    with closing(Between(None)) as silent:
        login = Login("app", HiddenText("silent-0123456789"))
        (error,) = ended(lambda: PsycopgSessions(connect_timeout=2).open(login, Place(HOST, silent.port)))
    assert "timeout" in str(error)
