"""Which language a page speaks, and its words (BCP 47, RFC 4647 §3.4, RFC 9110 §12.5.4)."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from markupsafe import Markup, escape

DEFAULT_LOCALE = "en"
LOCALES = ("en", "ja")

_MAX_HEADER = 1000
_RANGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8}){0,8}|\*")
_WEIGHT = re.compile(r"q=(0(\.[0-9]{0,3})?|1(\.0{0,3})?)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
# C0 and C1 controls are not text in HTML, and a lone surrogate cannot be encoded at all.
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def choose_locale(ui_locales: str | None, accept_language: str | None, supported: Sequence[str], default: str) -> str:
    """Return the supported language the person reads best; `default` if nothing asked for can be had.

    What the client asks for in `ui_locales` comes before what the browser says (OIDC Core §3.1.2.1). Malformed parts
    are skipped, never refused: a page in another language is better than no page.
    """
    for language_range in (ui_locales or "")[:_MAX_HEADER].split():
        found = _find(language_range, supported)
        if found is not None:
            return found
    wanted, refused = _parse_accept_language(accept_language or "")
    allowed = [tag for tag in supported if not any(_matches(bad, tag) for bad in refused)]
    for language_range in wanted:
        if language_range == "*":
            named = [tag for tag in allowed if not any(_matches(other, tag) for other in wanted)]
            return default if default in named or not named else named[0]
        found = _find(language_range, allowed)
        if found is not None:
            return found
    return default


def _parse_accept_language(header: str) -> tuple[list[str], list[str]]:
    """Return the ranges wanted, best first, and the ranges refused by `q=0`. RFC 9110 §12.4.2."""
    weighted: list[tuple[float, str]] = []
    for part in header[:_MAX_HEADER].split(","):
        language_range, *parameters = (piece.strip() for piece in part.split(";"))
        weight = 1.0
        if parameters:
            match = _WEIGHT.fullmatch(parameters[0].replace(" ", ""))
            if match is None:
                continue
            weight = float(match[1])
        if _RANGE.fullmatch(language_range):
            weighted.append((weight, language_range))
    wanted = [item for weight, item in sorted(weighted, key=lambda pair: -pair[0]) if weight > 0]
    return wanted, [item for weight, item in weighted if weight == 0 and item != "*"]


def _find(language_range: str, supported: Sequence[str]) -> str | None:
    """Look a range up, cutting it from the end (RFC 4647 §3.4); then take any regional variety of it."""
    if not _RANGE.fullmatch(language_range):
        return None
    subtags = language_range.lower().split("-")
    known = {tag.lower(): tag for tag in supported}
    while subtags:
        if "-".join(subtags) in known:
            return known["-".join(subtags)]
        subtags.pop()
        if subtags and len(subtags[-1]) == 1:
            subtags.pop()
    return next((tag for tag in supported if _matches(language_range, tag)), None)


def _matches(language_range: str, tag: str) -> bool:
    """Basic filtering: the range is the tag or a prefix of it. RFC 4647 §3.3.1."""
    return f"{tag}-".lower().startswith(f"{language_range}-".lower())


def printable(text: str) -> str:
    """Return `text` without the characters that HTML cannot carry."""
    return _NOT_TEXT.sub("", text)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The messages of one language."""

    locale: str
    messages: Mapping[str, str]

    def text(self, key: str, /, **values: object) -> Markup:
        """Return the message with its `{placeholders}` filled in, all of it escaped; raises KeyError if there is none.

        Not `str.format`: a message that a tenant may one day override must not reach attributes of the values.
        """
        filled = {name: escape(value) for name, value in values.items()}
        parts = _PLACEHOLDER.split(self.messages[key])
        pieces = (filled[part] if index % 2 else escape(part) for index, part in enumerate(parts))
        return Markup(printable("".join(pieces)))  # noqa: S704 - every piece was escaped above


def load_catalogues() -> dict[str, Catalogue]:
    """Read every language's messages from the package, once, at start."""
    folder = files("tegata.web") / "locale"
    return {
        locale: Catalogue(locale, tomllib.loads((folder / f"{locale}.toml").read_text(encoding="utf-8")))
        for locale in LOCALES
    }
