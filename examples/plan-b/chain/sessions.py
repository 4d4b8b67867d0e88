"""What the front load balancer remembers of who has logged in, and the page to do it at."""

from __future__ import annotations

import html
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from chain.pool import LoggedIn

COOKIE = "AWSELBAuthSessionCookie"
LOGIN, LOGOUT = "/oauth2/login", "/oauth2/logout"
_HTML = [("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store")]
_SHARD_BYTES = 4096
"""Cookies are split at this size (AWS, "Authenticate users using an Application Load Balancer")."""

LogIn = Callable[[str, str], "LoggedIn | None"]
Answer = tuple[int, list[tuple[str, str]], bytes]
BuildPage = Callable[[str, bool], bytes]
"""Makes the page for name and password (fields `name`, `password`, `next`, sent to `LOGIN`), of where to go and whether
the last try failed."""


class Sessions:
    """The sessions of one load balancer."""

    def __init__(self, log_in: LogIn, login_page: BuildPage | None = None) -> None:
        self._log_in = log_in
        self._build_page = login_page or build_page
        self._users: dict[str, LoggedIn] = {}

    def begin(self, user: LoggedIn, kilobytes: int = 0) -> str:
        """Return the Cookie header of a browser in which `user` has logged in, padded to so many kilobytes."""
        name = secrets.token_urlsafe(32)
        self._users[name] = user
        value = name + "." + "p" * (kilobytes * 1024)
        shards = [value[start : start + _SHARD_BYTES] for start in range(0, len(value), _SHARD_BYTES)]
        return "; ".join(f"{COOKIE}-{number}={shard}" for number, shard in enumerate(shards))

    def find(self, cookies: str) -> LoggedIn | None:
        """Return whose session the cookies of a request are."""
        return self._users.get(_find_name(cookies))

    def answer(self, path: str, cookies: str, form: bytes | None) -> Answer:
        """Answer at `LOGIN` and `LOGOUT`, in the place of the pool's hosted pages; `form` is None for GET."""
        if path.partition("?")[0] == LOGOUT:
            self._users.pop(_find_name(cookies), None)
            gone = [("set-cookie", f"{COOKIE}-0=; Path=/; Max-Age=0"), ("location", LOGIN)]
            return 302, gone, b""
        fields = parse_qs((form or b"").decode(errors="replace"))
        going = _check_local((parse_qs(urlsplit(path).query) | fields).get("next", ["/"])[0])
        if form is None:
            return 200, _HTML, self._build_page(going, False)
        user = self._log_in(fields.get("name", [""])[0], fields.get("password", [""])[0])
        if user is None:
            return 401, _HTML, self._build_page(going, True)
        # No Secure: this page is on loopback without TLS. A load balancer's cookie has it.
        cookie = f"{self.begin(user)}; Path=/; HttpOnly; SameSite=Lax"
        return 302, [("set-cookie", cookie), ("location", going)], b""


def build_login_address(path: str) -> str:
    """Return where to log in and come back to `path`."""
    return f"{LOGIN}?next={quote(_check_local(path), safe='')}"


def _find_name(cookies: str) -> str:
    try:
        found = SimpleCookie(cookies).get(f"{COOKIE}-0")
    except CookieError:
        return ""
    return found.value.partition(".")[0] if found is not None else ""


def _check_local(path: str) -> str:
    return path if path.startswith("/") and not path.startswith(("//", "/\\", "/oauth2/")) else "/"


def build_page(going: str, failed: bool) -> bytes:
    """Return a plain page for name and password."""
    said = '<p role="alert">Name or password is wrong.</p>' if failed else ""
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Log in</title>
<h1>Log in</h1>{said}
<form method="post" action="{LOGIN}">
<input type="hidden" name="next" value="{html.escape(going)}">
<p><label>Name <input name="name" autocomplete="username" required></label>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<p><button>Log in</button>
</form>
""".encode()
