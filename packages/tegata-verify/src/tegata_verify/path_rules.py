"""Which requirement holds for which path: deny by default, and no spelling of a path leads around its rule."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import KW_ONLY, dataclass
from urllib.parse import unquote_to_bytes

from tegata_verify.permissions import Requirement

WEBSOCKET = "WEBSOCKET"
"""The method of a WebSocket's handshake, for rules."""

# What servers, proxies and frameworks read in different ways: empty and dot segments, backslashes, control
# characters, a percent sign that is left after decoding, and what stands for bytes that are no UTF-8.
_AMBIGUOUS = re.compile(r"//|/\.{1,2}(?:/|\Z)|[\\%;\x00-\x1f\x7f\ufffd\ud800-\udfff]")
_ENCODED_SEPARATOR = re.compile(rb"%(?:2f|5c|2e|25|3b)", re.IGNORECASE)

_MOST_BYTES = 8 * 1024  # RFC 9110 §4.1 asks for as many


@dataclass(frozen=True, slots=True)
class PathRule:
    """A path, and everything below it, with what a caller needs there; `methods` None means all of them."""

    prefix: str
    requirement: Requirement
    _: KW_ONLY
    methods: Collection[str] | None = None


class PathRules:
    """Finds the requirement for a request. What no rule names is refused.

    The longest prefix decides, whole segments only; if it has rules for other methods alone, the request is refused,
    and so is a path that differs from a rule in case alone: frameworks do not agree on what that is. HEAD counts as
    GET. `public` are complete paths, to the letter, that need no token. A path that has another rule without the root
    path it begins with is refused, unless a rule is about that or below it.

    >>> from tegata_verify import build_requirement
    >>> rules = PathRules([PathRule("/beers", build_requirement(scope="read"), methods={"GET"})], public={"/health"})
    >>> rules.find("HEAD", "/beers/7").scopes, rules.find("GET", "/Beers/7"), rules.find("POST", "/beers")
    (frozenset({'read'}), None, None)
    >>> [rules.is_public(path) for path in ("/health", "/health/", "/Health", "//health", "/x/../health")]
    [True, False, False, False, False]
    """

    def __init__(self, rules: Iterable[PathRule], *, public: Collection[str] = ()) -> None:
        if isinstance(public, str):
            raise ValueError("public: a collection of paths")
        self._public = frozenset(public)
        self._rules: dict[str, dict[str | None, Requirement]] = {}
        self._spelled: dict[str, str] = {}
        for rule in rules:
            _check_plain(rule.prefix)
            by_method = self._rules.setdefault(_key(rule.prefix), {})
            spelled = self._spelled.setdefault(_key(rule.prefix), rule.prefix.rstrip("/"))
            if spelled != rule.prefix.rstrip("/"):
                raise ValueError(f"{spelled} and {rule.prefix} differ in case alone")
            methods = [None] if rule.methods is None else [method.upper() for method in rule.methods]
            for method in methods:
                if method in by_method:
                    raise ValueError(f"two rules for {method or 'every method'} of {rule.prefix}")
                by_method[method] = rule.requirement
        for path in self._public:
            _check_plain(path)
        self._most_segments = max((key.count("/") for key in self._rules), default=0)

    def is_public(self, path: str, raw_path: bytes | None = None) -> bool:
        """Tell whether a decoded path needs no token; never for one that could be read in two ways."""
        return path in self._public and is_plain(path, raw_path)

    def find(
        self, method: str, path: str, raw_path: bytes | None = None, *, root_paths: Iterable[str] = ()
    ) -> Requirement | None:
        """Return what is needed at a decoded path, or None: refuse the request.

        `root_paths` are what frameworks may take off the path before they look for its endpoint.
        """
        if not is_plain(path, raw_path):
            return None
        key = self._longest(path)
        if key is None or not f"{path}/".startswith(f"{self._spelled[key]}/"):
            return None
        if any(self._is_in_doubt(path, key, root_path.rstrip("/")) for root_path in root_paths):
            return None
        by_method = self._rules[key]
        method = "GET" if method.upper() == "HEAD" else method.upper()
        return by_method.get(method, by_method.get(None))

    def _longest(self, path: str) -> str | None:
        # No more of a path than the longest rule has: a path of a thousand segments is not looked up a thousand times.
        key = "/".join(_key(path).split("/", self._most_segments + 1)[: self._most_segments + 1])
        while key not in self._rules:
            if not key:
                return None
            key = key.rpartition("/")[0]
        return key

    def _is_in_doubt(self, path: str, key: str, root_path: str) -> bool:
        # With a rule for `/` and one for `/admin`, `/api/admin` would be a name of `/admin` that needs less.
        if not root_path or not f"{path}/".startswith(f"{root_path}/") or len(key) >= len(_key(root_path)):
            return False
        return self._longest(path[len(root_path) :]) != key


def is_plain(path: str, raw_path: bytes | None = None) -> bool:
    """Tell whether everybody reads the same path in it. `raw_path` is what was sent, if it is known.

    A path of more than 8 KiB is not read at all.
    """
    if len(path) > _MOST_BYTES or not path.startswith("/") or _AMBIGUOUS.search(path):
        return False
    if raw_path is None:
        return True
    raw_path = raw_path.partition(b"?")[0]
    return (
        len(raw_path) <= 3 * _MOST_BYTES
        and not _ENCODED_SEPARATOR.search(raw_path)
        and unquote_to_bytes(raw_path).decode("utf-8", "replace") == path
    )


def _key(path: str) -> str:
    return path.rstrip("/").casefold()


def _check_plain(path: str) -> None:
    if not is_plain(path):
        raise ValueError(f"{path!r}: an absolute path, decoded, without empty and dot segments")
