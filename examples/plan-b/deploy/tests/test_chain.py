"""Plan B from the front load balancer's headers to the application, with nginx and DNS between them."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable

import pytest

FRONT, STRANGER = "127.0.0.1", "127.0.0.9"


def test_a_user_whom_the_front_has_logged_in_is_known(chain) -> None:
    answer = chain.get("/me?state=kept%2Fas+it+is", chain.headers())
    assert (answer.status_code, answer.json()["subject"]) == (200, chain.user.subject)
    assert answer.json()["email"] == f"{chain.user.subject}@example.com"


def test_the_health_path_is_answered_by_nginx_and_names_no_version(chain) -> None:
    answer = chain.get("/nginx-health", [])
    assert (answer.status_code, answer.text, answer.headers["server"]) == (200, "ok", "nginx")


def none_algorithm(token: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).rstrip(b"=").decode()
    return f"{header}.{token.split('.')[1]}."


def changed(token: str) -> str:
    header, payload, signature = token.split(".")
    return f"{header}.{payload[:-4]}AAAA.{signature}"


HOSTILE: dict[str, Callable] = {
    "no headers at all": lambda chain: [],
    "an ID token in place of the access token": lambda chain: chain.headers(access=chain.user.id_token),
    "an access token without a signature": lambda chain: chain.headers(access=none_algorithm(chain.user.access)),
    "an access token that was changed": lambda chain: chain.headers(access=changed(chain.user.access)),
    "another user's name": lambda chain: chain.headers(identity="somebody-else"),
    "another user's data": lambda chain: chain.headers(data=chain.alb.mint_data(subject="somebody-else")),
    "data of another signer": lambda chain: chain.headers(
        data=chain.alb.mint_data(subject=chain.user.subject, header={"signer": chain.alb.arn.replace("front", "other")})
    ),
    "data that has expired": lambda chain: chain.headers(
        data=chain.alb.mint_data(subject=chain.user.subject, lifetime_seconds=-3600)
    ),
    "data whose key has no UUID for a name": lambda chain: chain.headers(
        data=chain.alb.mint_data(subject=chain.user.subject, header={"kid": "../../latest/meta-data"})
    ),
    "names with underscores": lambda chain: [(name.replace("-", "_"), value) for name, value in chain.headers()],
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_hostile_gets_no_further_than_the_application(chain, case: str) -> None:
    assert chain.get("/me", HOSTILE[case](chain)).status_code == 401


def test_a_header_sent_twice_arrives_twice_and_is_refused(chain) -> None:
    headers = chain.headers()
    assert chain.get("/me", [headers[0], *headers]).status_code == 400


def test_a_strangers_headers_are_taken_away_even_if_they_are_good(chain) -> None:
    """The application would believe them: the peer it sees is nginx in both cases."""
    assert chain.get("/me", chain.headers(), source=FRONT).status_code == 200
    claimed = [("x-forwarded-for", FRONT), ("x-real-ip", FRONT), ("forwarded", f"for={FRONT}")]
    assert chain.get("/me", [*chain.headers(), *claimed], source=STRANGER).status_code == 401


def test_a_header_of_30_kilobytes_passes_nginx(chain) -> None:
    assert chain.get("/health", [("x-large", "a" * 30_000)]).status_code == 200
    # The application has a bound of its own.
    assert chain.get("/me", chain.headers(data="a" * 30_000)).status_code == 401


def test_neither_tokens_nor_query_strings_are_logged(chain) -> None:
    chain.get("/me?code=secret-in-the-query", [*chain.headers(), ("cookie", "session=secret-in-a-cookie")])
    files = [chain.nginx.directory / name for name in ("access.log", "error.log")]
    logged = "".join(file.read_text() for file in files)
    assert '"path":"/me"' in logged
    assert "secret-in" not in logged
    assert chain.user.access.split(".")[2] not in logged


class Load:
    """Requests one after another, until the end of the block; what they were answered."""

    def __init__(self, chain, path: str = "/me") -> None:
        self.chain, self.path, self.statuses, self._ended = chain, path, [], threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        headers = self.chain.headers()
        while not self._ended.is_set() and len(self.statuses) < 5000:
            self.statuses.append(self.chain.get(self.path, headers).status_code)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(60)

    def wait_for(self, more: int) -> None:
        """Return when so many more have been answered."""
        goal, end = len(self.statuses) + more, time.monotonic() + 60
        while len(self.statuses) < goal:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_another_address_of_the_back_is_followed_under_load_without_a_reload(chain, count) -> None:
    log = chain.nginx.directory / "access.log"
    chain.names.addresses = ["127.0.0.1"]
    with Load(chain) as load:
        load.wait_for(10)
        chain.names.addresses = ["127.0.0.2"]
        end = time.monotonic() + 60
        while '"back":"127.0.0.2:' not in log.read_text():
            assert time.monotonic() < end
            time.sleep(0.05)
        load.wait_for(10)
    chain.names.addresses = ["127.0.0.1"]
    count("Plan B: address of the back changes", requests=len(load.statuses), failed=load.statuses.count(502))
    assert set(load.statuses) == {200}


def test_nothing_fails_while_nginx_is_reloaded(chain, count) -> None:
    with Load(chain) as load:
        for _ in range(3):
            chain.nginx.reload()
            load.wait_for(5)
    count("Plan B: nginx reloaded", requests=len(load.statuses), reloads=3)
    assert set(load.statuses) == {200}


def test_without_a_back_the_answer_is_502_and_health_goes_on(chain) -> None:
    chain.names.addresses = ["127.0.0.3"]
    try:
        end = time.monotonic() + 60
        while chain.get("/health", []).status_code != 502:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert chain.get("/nginx-health", []).status_code == 200
    finally:
        chain.names.addresses = ["127.0.0.1"]
    end = time.monotonic() + 60
    while chain.get("/health", []).status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
