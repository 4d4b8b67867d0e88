"""No spelling of a path leads around its rule, and none becomes public by looking like a public one."""

from __future__ import annotations

import pytest

from tegata_verify import build_requirement
from tegata_verify.path_rules import PathRule, PathRules, is_plain

READ, ADMIN = build_requirement(scope="read"), build_requirement(scope="admin")
RULES = PathRules(
    [PathRule("/", READ, methods={"GET"}), PathRule("/admin", ADMIN), PathRule("/beers", READ, methods=["POST"])],
    public={"/health", "/"},
)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/x", READ),
        ("HEAD", "/x", READ),
        ("POST", "/x", None),
        ("GET", "/admin", ADMIN),
        ("DELETE", "/admin/users", ADMIN),
        ("GET", "/admin/users/", ADMIN),
        ("GET", "/ADMIN/users/", None),
        ("GET", "/administrator", READ),
        ("GET", "/beers", None),
        ("post", "/beers/", READ),
        ("GET", "//admin", None),
        ("GET", "/x/../admin", None),
        ("GET", "/./admin", None),
        ("GET", "/admin/..", None),
        ("GET", "/x\\..\\admin", None),
        ("GET", "/%61dmin", None),
        ("GET", "/admin;x", None),
        ("GET", "/admin\x00", None),
        ("GET", "admin", None),
        ("GET", "", None),
    ],
)
def test_the_longest_prefix_of_whole_segments_decides(method, path, expected):
    assert RULES.find(method, path) is expected


@pytest.mark.parametrize("path", ["/health/", "/Health", "//health", "/./health", "/x/../health", "/health/x", ""])
def test_public_is_what_is_public_to_the_letter(path):
    assert RULES.is_public("/health")
    assert not RULES.is_public(path)


@pytest.mark.parametrize("raw", [b"/a/%2e%2e/health", b"/%2Fhealth", b"/health%2f", b"/healt%2568", b"/other"])
def test_what_was_sent_must_say_the_same_as_what_was_decoded(raw):
    assert RULES.is_public("/health", b"/health?x=1")
    assert RULES.is_public("/health", b"/%68ealth")
    assert not RULES.is_public("/health", raw)
    assert RULES.find("GET", "/health", raw) is None


def test_letters_of_every_language_are_plain():
    assert is_plain("/麦酒", "/麦酒".encode())
    assert is_plain("/麦酒", b"/%E9%BA%A6%E9%85%92")


@pytest.mark.parametrize(
    "rules",
    [
        [PathRule("/a", READ), PathRule("/A/", ADMIN)],
        [PathRule("/a", READ, methods=["GET"]), PathRule("/a", ADMIN, methods=["get"])],
        [PathRule("a", READ)],
        [PathRule("/a/../b", READ)],
        [PathRule("/a%2f", READ)],
    ],
)
def test_rules_that_could_be_misread_are_refused(rules):
    with pytest.raises(ValueError, match=r"rules for|absolute path|in case alone"):
        PathRules(rules)


def test_a_path_that_is_too_long_or_no_utf8_is_read_by_nobody():
    long = "/admin" + "/a" * 4093
    assert RULES.find("GET", long) is ADMIN
    assert RULES.find("GET", f"{long}/a") is None
    assert RULES.find("GET", long, long.encode().replace(b"a", b"%61")) is ADMIN
    assert RULES.find("GET", "/admin", b"/%61dmin" + b"?" * 100_000) is ADMIN
    assert RULES.find("GET", "/a\ufffd", b"/a%ff") is None
    assert RULES.find("GET", "/a\udcff") is None


def test_of_a_deep_path_as_much_counts_as_rules_are_deep():
    rules = PathRules([PathRule("/a/b/c", ADMIN), PathRule("/a", READ)])
    assert rules.find("GET", "/a" + "/b" * 4000) is READ
    assert rules.find("GET", "/a/b/c/d/e") is ADMIN
    assert rules.find("GET", "/a/b/cd/e") is READ
    assert rules.find("GET", "/x" * 4000) is None


@pytest.mark.parametrize(("path", "found"), [("/", READ), ("/x", READ), ("/x/y/z", READ)])
def test_a_rule_for_everything_is_for_everything(path, found):
    assert PathRules([PathRule("/", READ)]).find("GET", path) is found
    assert PathRules([]).find("GET", path) is None


def test_one_text_is_no_collection_of_public_paths():
    with pytest.raises(ValueError, match="collection"):
        PathRules([], public="/health")


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/api/admin", "/api", None),
        ("/api/admin", "/api/", None),
        ("/api/ADMIN/users/", "/api", None),
        ("/api/x", "/api", READ),
        ("/api/", "/api", READ),
        ("/api", "/api", READ),
        ("/apiary/admin", "/api", READ),
        ("/admin", "/api", ADMIN),
        ("/admin/x", "/admin", ADMIN),
        ("/api/admin", "", READ),
    ],
)
def test_what_a_framework_takes_off_a_path_leads_around_no_rule(path, root_path, expected):
    assert RULES.find("GET", path, root_paths=["", root_path]) is expected


def test_a_rule_below_a_root_path_was_made_for_it():
    rules = PathRules([PathRule("/", ADMIN), PathRule("/api/beers", READ)])
    assert rules.find("GET", "/api/beers/7", root_paths=["/api"]) is READ


@pytest.mark.parametrize("path", ["/files/SHARED", "/files/\u017fhared", "/Files/shared", "/FILES"])
def test_a_path_that_differs_from_a_rule_in_case_alone_is_refused(path):
    """One framework sees `/files/shared` in it, which needs less, and another `/files/{name}`."""
    rules = PathRules([PathRule("/", READ), PathRule("/files", ADMIN), PathRule("/files/shared", READ)])
    assert rules.find("GET", path) is None
    assert rules.find("GET", path.replace("\u017f", "s").lower()) is not None
