"""Static files by content, and content security policies."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tegata.web.assets import (
    CONTENT_SECURITY_POLICY,
    Assets,
    build_content_security_policy,
    is_local_path,
    is_web_address,
)

NAMES = ("tegata.css", "seal.svg", "form-post.js", "playground.js")


@pytest.mark.parametrize("name", NAMES)
def test_the_address_of_a_file_holds_its_digest_and_finds_its_bytes(name: str) -> None:
    assets = Assets()
    found = assets.find(assets.url(name))
    assert found is not None
    assert hashlib.sha256(found[0]).hexdigest()[:16] in assets.url(name)
    assert assets.url(name).startswith("/static/")


def test_an_unknown_address_finds_nothing() -> None:
    assets = Assets()
    for path in ("/static/tegata.css", "/static/../pages.py", "/static/tegata.0000000000000000.css", ""):
        assert assets.find(path) is None


def test_the_prefix_can_hold_a_base_path() -> None:
    assert Assets(prefix="/idp/static/").url("tegata.css").startswith("/idp/static/tegata.")


def test_static_files_load_nothing_from_elsewhere() -> None:
    assets = Assets()
    for name in NAMES:
        content = assets.find(assets.url(name)) or (b"", "")
        text = content[0].decode().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(
            r"https?://|@import|\burl\(|innerHTML|insertAdjacentHTML|document\.write|\beval\(", text
        ), name


def test_the_script_for_form_post_is_old_javascript() -> None:
    assets = Assets()
    content, content_type = assets.find(assets.url("form-post.js")) or (b"", "")
    assert content_type.startswith("text/javascript")
    assert not re.search(rb"=>|`|\b(const|let|async|class)\b", re.sub(rb"//.*", b"", content))


def test_colours_and_fonts_are_set_by_variables_alone() -> None:
    assets = Assets()
    css = (assets.find(assets.url("tegata.css")) or (b"", ""))[0].decode()
    rules = css[css.index("*,\n*::before") :]
    assert not re.search(r"#[0-9a-fA-F]{3,8}\b|rgb\(|hsl\(", rules)
    assert not re.search(r"(margin|padding|border)-(left|right)|\b(left|right):|text-align: (left|right)", css)


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "data:text/html,x",
        "http://example.com/",
        "//example.com/",
        "/path",
        "https://",
        "https://user:pw@example.com/",
        "https://exa mple.com/",
        "https://example.com/\n",
        'https://example.com/"onclick=',
        "https://example.com:port/",
        "http://[::1",
        "http://127.0.0.1.example.com/",
        "",
    ],
)
def test_an_address_that_is_not_safe_to_link_is_refused(uri: str) -> None:
    assert not is_web_address(uri)


@pytest.mark.parametrize(
    "uri",
    ["https://example.com/a?b=c#d", "http://127.0.0.1:9000/callback", "http://localhost/", "http://[::1]:9000/"],
)
def test_https_and_loopback_addresses_are_safe_to_link(uri: str) -> None:
    assert is_web_address(uri)


@pytest.mark.parametrize("path", ["//example.com", "/\\example.com", "example", "", "javascript:x", "/a b"])
def test_a_path_that_could_leave_this_server_is_refused(path: str) -> None:
    assert not is_local_path(path)


@pytest.mark.parametrize("kind", CONTENT_SECURITY_POLICY)
def test_every_policy_starts_from_nothing_and_forbids_frames_and_inline_code(kind: str) -> None:
    policy = build_content_security_policy(kind)
    assert policy.startswith("default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
    assert "unsafe" not in policy
    assert policy.endswith("form-action 'self'")


def test_only_form_post_and_playground_run_scripts() -> None:
    with_script = {kind for kind in CONTENT_SECURITY_POLICY if "script-src" in build_content_security_policy(kind)}
    assert with_script == {"form_post", "playground"}


@pytest.mark.parametrize(
    ("target", "sources"),
    [
        ("https://client.example/callback", "'self' https:"),
        ("http://127.0.0.1:9000/callback", "'self' http://127.0.0.1:* http://localhost:*"),
        ("http://[::1]:9000/callback", "'self' http:"),
        ("com.example.app:/callback", "'self' com.example.app:"),
        ("http://example.com/callback", "'self'"),
        ("javascript:alert(1)", "'self'"),
        ("nonsense", "'self'"),
    ],
)
def test_forms_may_lead_where_the_redirect_uri_leads(target: str, sources: str) -> None:
    assert build_content_security_policy("document", form_targets=[target]).endswith(f"form-action {sources}")


@given(st.text(), st.text())
def test_no_target_or_logo_can_add_a_directive(target: str, logo: str) -> None:
    policy = build_content_security_policy("document", form_targets=[target, f"https:{target}"], logo_uri=logo)
    assert re.fullmatch(
        r"default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'self'; "
        r"img-src 'self'( https?://[a-z0-9.:-]+)?; form-action 'self'( [a-z0-9+.-]+:)?( https:)?( http://\S+:\*){0,3}",
        policy,
    )


def test_a_logo_adds_its_origin_alone() -> None:
    policy = build_content_security_policy("document", logo_uri="https://cdn.example/logo.png")
    assert "img-src 'self' https://cdn.example;" in policy
