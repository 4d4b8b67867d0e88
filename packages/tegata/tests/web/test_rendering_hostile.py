"""No value can bring markup, a script or a foreign address into a page, wherever it stands."""

from __future__ import annotations

import dataclasses
import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tegata.web.assets import Assets
from tegata.web.locales import LOCALES, load_catalogues
from tegata.web.pages import Page
from tegata.web.rendering import Renderer

from .samples import SAMPLES, Document

RENDERER = Renderer(Assets(), load_catalogues())
ADDRESSES = {"href", "src", "action", "formaction"}
HOSTILE = st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' autofocus onfocus='alert(1)",
        "javascript:alert(1)",
        "</title><h1>",
        "{{ 7 * 7 }}{% raw %}{name}",
        "&lt;b&gt;&#60;b&#62;",
        "\x00\x0b\ud800<b>",
        "\u202e\u2066<b>",
        "<!--",
        "]]>",
        "https://evil.example/\"onclick='x'",
    ]
) | st.text(max_size=40)


def hostile(value: Any, data: st.DataObject, field: str = "") -> Any:
    """The same value with every text in it replaced; addresses too, as they come from clients."""
    if isinstance(value, str):
        return data.draw(HOSTILE, label=field)
    if isinstance(value, tuple):
        return tuple(hostile(item, data, field) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(
            value,
            **{
                item.name: hostile(getattr(value, item.name), data, item.name)
                for item in dataclasses.fields(value)
                if item.name not in KEPT
            },
        )
    return value


# Our own addresses, which `test_a_form_that_would_go_astray_is_not_rendered` covers.
KEPT = {
    "action",
    "playground_path",
    "path",
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "end_session_endpoint",
    "redirect_uri",
    "api_uri",
}


@pytest.mark.parametrize("page", SAMPLES, ids=lambda page: type(page).__name__)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_no_value_can_add_an_element_an_attribute_or_a_script_address(page: Page, data: st.DataObject) -> None:
    evil = hostile(page, data)
    for locale in LOCALES:
        html = RENDERER.render(evil, locale)
        html.encode()
        assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", html)
        document, plain = Document(html), Document(RENDERER.render(page, locale))
        known = {without_error_marks(*item) for item in plain.shape()}
        assert {without_error_marks(*item) for item in document.shape()} <= known
        assert count(document, "script") == count(plain, "script")
        assert count(document, "form") == count(plain, "form")
        assert count(document, "input") == count(plain, "input")
        for _, values in document.elements:
            for name in ADDRESSES & set(values):
                address = values[name] or ""
                assert urlsplit(address).scheme in {"", "https", "http"}, address
                assert address.startswith(("/", "https://", "http://127.0.0.1", "http://localhost", "http://[::1]"))


def count(document: Document, tag: str) -> int:
    return sum(element == tag for element, _ in document.elements)


def without_error_marks(tag: str, attributes: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    return tag, tuple(name for name in attributes if name not in {"aria-invalid", "aria-describedby", "autofocus"})
