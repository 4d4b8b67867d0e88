"""`tegata health`: ask the server on this machine whether it may get traffic, for images that have no curl.

Only the standard library is imported: a container asks every few seconds, with the CPU that the server could use.
The request goes to the address that the server was told to listen on, never through a proxy, and is not repeated.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from threading import Thread

PATH = "/actuator/health"
TIMEOUT_SECONDS = 3.0
# What `settings` says where nothing is set; a test compares them. Settings themselves would load half of Tegata.
HOST, PORT = "127.0.0.1", 8080
_LOOPBACK = {"": HOST, "0.0.0.0": HOST, "::": "::1"}  # noqa: S104 - whoever listens everywhere is asked on loopback
_UP, _DOWN = 0, 1


class Unhealthy(Exception):
    """What is the matter, in one line."""


def run(path: str = PATH, timeout: float = TIMEOUT_SECONDS, environment: Mapping[str, str] = os.environ) -> int:
    """Ask, and return 0 if the answer is a 2xx, else 1 with the reason on standard error.

    There is no third status: who asks (Docker, ECS, Kubernetes) knows only these two.
    """
    try:
        host, port = address(environment)
        status = ask(host, port, path, timeout)
    except Unhealthy as error:
        print(f"tegata: {error}", file=sys.stderr)
        return _DOWN
    print(f"{path} answered {status}", file=sys.stdout if _is_good(status) else sys.stderr)
    return _UP if _is_good(status) else _DOWN


def address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Return where the server listens, as TEGATA_HOST and TEGATA_PORT have it. Raises `Unhealthy`."""
    host = environment.get("TEGATA_HOST", "").strip() or HOST
    text = environment.get("TEGATA_PORT", "").strip() or str(PORT)
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Unhealthy(f"TEGATA_PORT does not say where the server listens: {text}")
    return _LOOPBACK.get(host, host), int(text)


def ask(host: str, port: int, path: str, timeout: float) -> int:
    """Return the status of the answer. Raises `Unhealthy`, after `timeout` seconds at the latest.

    A socket's own timeout begins anew with each byte, so it is the thread that is not waited for any longer.
    """
    import http.client

    answers: list[int] = []
    failures: list[Exception] = []

    def request() -> None:
        connection = http.client.HTTPConnection(host, port, timeout=timeout)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            answers.append(connection.getresponse().status)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(error)
        finally:
            connection.close()

    thread = Thread(target=request, daemon=True)
    thread.start()
    thread.join(timeout)
    if answers:
        return answers[0]
    if failures and not isinstance(failures[0], TimeoutError):
        raise Unhealthy(f"{path} of {host} port {port} cannot be asked: {failures[0]}") from None
    raise Unhealthy(f"{path} of {host} port {port} did not answer within {timeout:g} s")


def _is_good(status: int) -> bool:
    return 200 <= status < 300
