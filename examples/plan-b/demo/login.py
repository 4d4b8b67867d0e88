"""Stands in for the pool's hosted page: one button for each user, nothing to type."""

from __future__ import annotations

import html
from collections.abc import Collection
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from chain.pool import Pool
from chain.sessions import LOGIN, LOGOUT, Answer, Sessions


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the demonstration, and what the button says of it."""

    name: str
    about: str
    groups: Collection[str] = ()
    password: str = field(default="Passw0rd!x", repr=False)


PEOPLE = (
    Person("ann", "in the group admin: may see the report", groups=("admin",)),
    Person("ben", "in no group: may not"),
)

_STYLE = """
:root { color-scheme: light dark; }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  font: 1rem/1.5 system-ui, sans-serif; background: light-dark(#f4f5f7, #14171a); color: light-dark(#1b1f24, #e8eaed); }
main { width: 100%; max-width: 26rem; padding: 1.5rem; border: 1px solid light-dark(#d0d7de, #3b424a);
  border-radius: .75rem; background: light-dark(#fff, #1e2227); }
h1 { font-size: 1.375rem; margin: 0 0 .25rem; }
p, small { color: light-dark(#57606a, #a3abb5); }
p { margin: 0 0 1rem; }
button { display: block; width: 100%; margin-top: .75rem; padding: .75rem 1rem; font: inherit; text-align: left;
  color: inherit; background: none; border: 1px solid light-dark(#8c959f, #6e7781); border-radius: .5rem;
  cursor: pointer; }
button:hover { background: light-dark(#f4f5f7, #14171a); }
button:focus-visible { outline: 3px solid light-dark(#0969da, #79b8ff); outline-offset: 2px; }
button strong, button small { display: block; }
"""


class ChooseWho(Sessions):
    """Sessions of a load balancer whose users choose who they are."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool.log_in)
        self._passwords = {person.name: person.password for person in PEOPLE}
        for person in PEOPLE:
            pool.add_user(person.name, person.password, person.groups)

    def answer(self, path: str, cookies: str, form: bytes | None) -> Answer:
        """Show the page, or log in whoever was chosen."""
        if path.partition("?")[0] == LOGOUT:
            return super().answer(path, cookies, form)
        if form is None:
            going = parse_qs(urlsplit(path).query).get("next", ["/"])[0]
            return 200, [("content-type", "text/html; charset=utf-8")], build_page(going).encode()
        chosen = parse_qs(form.decode(errors="replace")).get("name", [""])[0]
        password = self._passwords.get(chosen, "")
        return super().answer(path, cookies, form + f"&password={password}".encode())


def build_page(going: str) -> str:
    """Return the page; whoever is chosen goes on to `going`."""
    buttons = "\n".join(
        f'<button name="name" value="{person.name}"><strong>{person.name}</strong>'
        f"<small>{html.escape(person.about)}</small></button>"
        for person in PEOPLE
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Who are you?</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>Who are you?</h1>
<p>Behind a real load balancer this is Cognito's own page, with a password.</p>
<form method="post" action="{LOGIN}">
<input type="hidden" name="next" value="{html.escape(going)}">
{buttons}
</form>
</main>
</body>
</html>
"""
