"""The back is down, slow, broken or gone: what a browser sees, what is sent twice, and that it ends by itself."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx2
import pytest
from chain import UNUSED, Back, FrontLoadBalancer, Names, free_port, wait_until

from tegata_verify.testing import TestAlb, TestIssuer

HERE, THERE, NOWHERE = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture(scope="module")
def backs() -> Iterator[tuple[Back, Back]]:
    port = free_port()
    with Back(HERE, port) as here, Back(THERE, port) as there:
        yield here, there


class Way:
    """A browser's way through the front and nginx to some addresses."""

    def __init__(self, stack: ExitStack, start_nginx, port: int, *addresses: str, **configuration: int) -> None:
        self.names = stack.enter_context(Names(*addresses))
        self.nginx = start_nginx(back_port=port, resolver_port=self.names.port, **configuration)
        front = FrontLoadBalancer(
            (HERE, self.nginx.port), TestAlb(TestIssuer()), lambda name, password: None, unauthenticated="allow"
        )
        url = stack.enter_context(front).url
        self.browser = stack.enter_context(httpx2.Client(base_url=url, timeout=60, trust_env=False, verify=UNUSED))

    def wait_for(self, status: int) -> None:
        wait_until(lambda: self.browser.get("/").status_code == status, f"status {status}")

    def list_tried(self, path: str) -> list[str]:
        """Return the addresses to which nginx has sent the one request for `path`: what it logs at the end of it."""

        def find() -> list[dict[str, str]]:
            # The last line may be half written.
            lines = self.nginx.read_access_log().rpartition("\n")[0].splitlines()
            return [line for line in map(json.loads, lines) if line["path"] == path]

        wait_until(find, f"the line of {path}")
        (line,) = find()
        return line["back"].split(", ")


@pytest.fixture(scope="module")
def make_way(start_nginx, backs) -> Iterator[Callable[..., Way]]:
    with ExitStack() as stack:
        yield lambda *addresses, **configuration: Way(
            stack, start_nginx, backs[0].server_port, *addresses, **configuration
        )


@pytest.fixture(scope="module")
def one(make_way) -> Way:
    """The way to one address."""
    return make_way(HERE)


@pytest.fixture(scope="module")
def two(make_way) -> Way:
    """The way to two addresses of the same name."""
    return make_way(HERE, THERE)


def count_of(backs: tuple[Back, Back], path: str) -> int:
    return sum(back.count(path) for back in backs)


def test_a_back_that_nobody_listens_at_is_502_until_somebody_does(make_way, backs) -> None:
    way = make_way(NOWHERE)
    refused = way.browser.get("/")
    assert (refused.status_code, refused.headers["server"]) == (502, "nginx")
    assert NOWHERE not in refused.text
    assert way.browser.get("/nginx-health").status_code == 200
    with Back(NOWHERE, backs[0].server_port) as recovered:
        assert way.browser.get("/again").text == "said by the back"
        assert recovered.count("/again") == 1


def test_a_name_that_cannot_be_resolved_is_502_until_it_can(make_way) -> None:
    way = make_way(HERE)
    way.names.addresses = []
    way.wait_for(502)
    way.names.addresses = [HERE]
    way.wait_for(200)


def test_a_slow_back_holds_up_nobody_else(start_nginx) -> None:
    with ThreadPoolExecutor(1) as pool, Names() as names:
        with Back() as back:
            nginx = start_nginx(back_port=back.server_port, resolver_port=names.port)
            slow = pool.submit(httpx2.get, f"{nginx.url}/slow", timeout=300, trust_env=False, verify=UNUSED)
            wait_until(lambda: back.count("/slow"), "the slow request")
            assert httpx2.get(f"{nginx.url}/", timeout=60, trust_env=False, verify=UNUSED).status_code == 200
            assert not slow.done()
        assert slow.result().text == "said by the back"


def test_a_slow_back_is_504(make_way) -> None:
    impatient = make_way(HERE, read_seconds=1)
    assert impatient.browser.get("/slow").status_code == 504
    assert len(impatient.list_tried("/slow")) == 1  # there is no other address to try


@pytest.mark.parametrize("status", [400, 404, 429, 500, 502, 503, 504])
def test_what_the_back_answers_is_passed_on_and_asked_for_once(two, backs, status: int) -> None:
    path = f"/status/{status}"
    answer = two.browser.get(path)
    assert (answer.status_code, answer.text, answer.headers["retry-after"]) == (status, "said by the back", "7")
    assert count_of(backs, path) == 1


@pytest.mark.parametrize(
    ("method", "times"),
    [("POST", 1), ("PATCH", 1), ("GET", 2), ("HEAD", 2), ("PUT", 2), ("DELETE", 2)],
)
def test_another_address_is_tried_for_what_may_be_done_twice_only(two, backs, method: str, times: int) -> None:
    """RFC 9110 §9.2.2. The back has read the request and breaks off: it may have acted on it."""
    path = f"/break/{method}"
    body = {"content": b"x" * 1000} if method in ("POST", "PATCH", "PUT") else {}
    assert two.browser.request(method, path, **body).status_code == 502
    assert count_of(backs, path) == times
    assert backs[0].count(path) <= 1


@pytest.mark.parametrize(("method", "times"), [("POST", 1), ("GET", 2)])
def test_a_slow_back_gets_no_post_twice(make_way, method: str, times: int) -> None:
    impatient = make_way(HERE, THERE, read_seconds=1)
    assert impatient.browser.request(method, "/slow/method").status_code == 504
    assert len(impatient.list_tried("/slow/method")) == times


def test_a_post_reaches_another_address_if_the_first_could_not_be_connected_to(make_way, backs) -> None:
    """Nothing was sent: nothing can have been acted on."""
    way = make_way(NOWHERE, THERE)
    for number in range(4):
        assert way.browser.post(f"/post/{number}", content=b"x").status_code == 200
        assert count_of(backs, f"/post/{number}") == 1


def test_half_an_answer_is_no_whole_one(one) -> None:
    with pytest.raises(httpx2.HTTPError):
        one.browser.get("/half")
    assert one.browser.get("/").status_code == 200


def test_a_large_body_arrives_though_it_is_kept_on_disk_meanwhile(one) -> None:
    """Temporary files of an ordinary user: in a folder that is its own."""
    assert one.browser.post("/upload", content=b"x" * 2_000_000).status_code == 200


def test_a_body_that_is_too_large_is_refused_before_it_comes(one) -> None:
    with socket.create_connection((HERE, one.nginx.port), 60) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 11000000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")
