"""Plan B from a browser to the application, and who may say who somebody is."""

from __future__ import annotations

import socket

import httpx2
import pytest
from chain import FRONT, STRANGER, UNUSED, Chain, LoggedIn, wait_until


def test_a_user_whom_the_front_has_logged_in_is_known(chain: Chain) -> None:
    answer = chain.visit("/me?state=kept%2Fas+it+is")
    assert (answer.status_code, answer.json()["subject"]) == (200, chain.user.subject)
    assert answer.json()["email"] == "visitor@example.com"


def test_somebody_unknown_gets_no_further_than_the_front(chain: Chain) -> None:
    answer = chain.visit("/me", session=False)
    assert (answer.status_code, answer.headers["server"]) == (401, "awselb/2.0")


def test_the_health_path_is_answered_by_nginx_and_names_no_version(chain: Chain) -> None:
    answer = chain.get("/nginx-health", [])
    assert (answer.status_code, answer.text, answer.headers["server"]) == (200, "ok", "nginx")


def test_what_the_front_does_not_say_is_missed(chain: Chain) -> None:
    assert chain.get("/me", []).status_code == 401
    assert chain.get("/me", chain.headers(identity="somebody-else")).status_code == 401
    for left_out in range(3):
        headers = chain.headers()
        del headers[left_out]
        assert chain.get("/me", headers).status_code == 401


@pytest.fixture(scope="module")
def other_user(chain: Chain) -> LoggedIn:
    chain.pool.add_user("victim", "Passw0rd!y")
    user = chain.pool.log_in("victim", "Passw0rd!y")
    assert user is not None
    return user


@pytest.fixture
def victim(chain: Chain, other_user: LoggedIn) -> list[tuple[str, str]]:
    """Everything that the front would say of another user: good for two minutes, and known to an attacker for once."""
    return chain.front.build_headers(other_user)


SPELLINGS = {
    "as they are": lambda headers: headers,
    "in capitals": lambda headers: [(name.upper(), value) for name, value in headers],
    "with underscores": lambda headers: [(name.replace("-", "_"), value) for name, value in headers],
    "twice": lambda headers: [*headers, *headers],
    "with addresses": lambda headers: [
        *headers,
        *[(name, FRONT) for name in ("x-forwarded-for", "x-real-ip", "true-client-ip", "x-client-ip", "client-ip")],
        ("forwarded", f"for={FRONT}"),
    ],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_strangers_headers_are_taken_away_even_if_they_are_good(chain: Chain, victim, spelling: str) -> None:
    """The application would believe them: the peer it sees is nginx in both cases."""
    assert chain.get("/me", victim, source=FRONT).status_code == 200
    refused = chain.get("/me", SPELLINGS[spelling](victim), source=STRANGER)
    assert refused.status_code == 401
    assert "error" not in refused.json()  # nothing was presented, as far as the application can tell


@pytest.mark.parametrize("strips", [True, False], ids=["a front that strips", "a front that does not"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_nobody_becomes_somebody_else_through_the_front(chain: Chain, victim, spelling: str, strips: bool) -> None:
    """That load balancers take away a client's own such headers is nowhere promised: it must not matter."""
    headers = SPELLINGS[spelling](victim)
    chain.front.strips = strips
    try:
        answer = chain.visit("/me", headers)
    finally:
        chain.front.strips = True
    # 400 is for two of a name.
    assert answer.status_code == (200 if strips or spelling == "with underscores" else 400)
    assert answer.json().get("subject", chain.user.subject) == chain.user.subject


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_nobody_becomes_somebody_without_a_session(chain: Chain, victim, spelling: str) -> None:
    chain.front.unauthenticated = "allow"
    try:
        assert chain.visit("/me", SPELLINGS[spelling](victim), session=False).status_code == 401
    finally:
        chain.front.unauthenticated = "deny"


@pytest.mark.parametrize("which", range(3))
def test_a_header_sent_twice_arrives_twice_and_is_refused(chain: Chain, which: int) -> None:
    headers = chain.headers()
    assert chain.get("/me", [headers[which], *headers]).status_code == 400


BREAKS = {
    "a space before the colon": b"X-Amzn-Oidc-Data : %b\r\n",
    "a tab before the colon": b"X-Amzn-Oidc-Data\t: %b\r\n",
    "a line that goes on": b"X-Other: a\r\n X-Amzn-Oidc-Data: %b\r\n",
    "a lone line feed": b"X-Other: a\nX-Amzn-Oidc-Data: %b\r\n",
    "a lone carriage return": b"X-Other: a\rX-Amzn-Oidc-Data: %b\r\n",
    "a zero": b"X-Amzn-Oidc-Data\0: %b\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 5\r\nX-Amzn-Oidc-Data: %b\r\n",
    "a length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nX-Amzn-Oidc-Data: %b\r\n",
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_request_that_could_be_read_in_two_ways_says_nothing(chain: Chain, victim, case: str) -> None:
    """From a stranger; behind it a second request, in case somebody took the rest for one (RFC 9112 §11.2)."""
    said = dict(victim)
    rest = "".join(f"{name}: {value}\r\n" for name, value in victim)
    request = b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    request += BREAKS[case] % said["x-amzn-oidc-data"].encode() + b"\r\n"
    request += f"GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}\r\n".encode()
    with socket.create_connection(("127.0.0.1", chain.nginx.port), 60, (STRANGER, 0)) as connection:
        connection.sendall(request)
        answer = b""
        try:
            while part := connection.recv(4096):
                answer += part
        except ConnectionResetError:
            pass  # it was closed while the second request was on its way
    statuses = [line.split()[1] for line in answer.splitlines() if line.startswith(b"HTTP/1.1 ")]
    assert statuses
    assert set(statuses) <= {b"400", b"401"}
    assert b"subject" not in answer


def test_neither_tokens_nor_query_strings_are_logged(chain: Chain) -> None:
    """Here what is not logged is looked for; at the end of the session, every token that went through."""
    before = chain.nginx.read_access_log().count("\n")
    chain.get("/me?code=secret-in-the-query", [*chain.headers(), ("cookie", "session=secret-in-a-cookie")])
    chain.get("/me", [("authorization", f"Bearer {chain.user.access}"), ("referer", "https://x/?secret-in-a-referer")])
    chain.get("/" + "x" * 40_000, [("x-large", "secret-in-a-refused-request")])
    wait_until(lambda: chain.nginx.read_access_log().count("\n") >= before + 3, "three lines")
    logged = chain.nginx.read_logs()
    assert '"path":"/me"' in logged
    assert "secret-in" not in logged
    assert chain.user.access.split(".")[2] not in logged


@pytest.mark.parametrize("kilobytes", [10, 14])
def test_a_session_of_many_kilobytes_passes(chain: Chain, kilobytes: int) -> None:
    """With the rest, 30 kB of headers: cookies of a load balancer are up to 16 kB."""
    cookies = chain.front.begin_session(chain.user, kilobytes)
    more = [(f"x-other-{number}", "a" * 5000) for number in range(3)]
    with httpx2.Client(base_url=chain.front.url, timeout=60, trust_env=False, verify=UNUSED) as browser:
        answer = browser.get("/me", headers=[("cookie", cookies), *more])
    assert (answer.status_code, answer.json()["subject"]) == (200, chain.user.subject)


SIZES = {
    "one of 30 kB": ([30_000], {200}),
    "two of 15 kB beside each other": ([15_000, 15_000], {200}),
    "60 kB": ([15_000] * 4, {200}),
    "one of 33 kB": ([33_000], {400, 431}),
    "200 kB": ([20_000] * 10, {400, 431}),
    "20,000 small ones": ([10] * 20_000, {400, 431}),
    # nginx lets it through. The application's server bounds what it has not read to the end: how it arrives decides,
    # and it may hang up before nginx has said it all.
    "100 kB": ([25_000] * 4, {200, 400, 431, 502}),
}


@pytest.mark.parametrize("case", SIZES)
def test_large_headers_pass_and_too_large_ones_are_refused(chain: Chain, case: str) -> None:
    sizes, expected = SIZES[case]
    workers = chain.nginx.workers
    headers = [(f"x-{number}", "a" * size) for number, size in enumerate(sizes)]
    assert chain.get("/health", headers).status_code in expected
    assert chain.get("/me", chain.headers()).status_code == 200
    assert chain.nginx.workers == workers


def test_the_application_has_a_bound_of_its_own_for_tokens(chain: Chain) -> None:
    assert chain.get("/me", chain.headers(data="a" * 30_000)).status_code == 401
    assert chain.get("/me", [("authorization", "Bearer " + "a" * 30_000)]).status_code == 401
