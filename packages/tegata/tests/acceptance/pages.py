"""Read the server's HTML pages as a browser without JavaScript would: forms, buttons, texts by id."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

VOID = frozenset({"input", "br", "hr", "img", "meta", "link", "source", "wbr", "col", "area", "base"})


@dataclass(slots=True)
class Control:
    name: str | None
    value: str
    kind: str
    id: str | None
    formaction: str | None = None


@dataclass(slots=True)
class Form:
    action: str
    method: str
    controls: list[Control] = field(default_factory=list)

    def names(self) -> set[str]:
        return {control.name for control in self.controls if control.name}

    def ids(self) -> set[str]:
        return {control.id for control in self.controls if control.id}

    def data(self, *, button: str | None = None, **values: str) -> dict[str, str]:
        """What a browser sends when the person fills in `values` and presses the button with that id."""
        sent = {c.name: c.value for c in self.controls if c.name and c.kind not in {"submit", "button"}}
        sent.update(values)
        if button is not None:
            pressed = next(c for c in self.controls if c.id == button)
            if pressed.name:
                sent[pressed.name] = pressed.value
        return sent

    def target(self, button: str | None = None) -> str:
        for control in self.controls:
            if button is not None and control.id == button and control.formaction:
                return control.formaction
        return self.action


@dataclass(slots=True)
class Page:
    """One answered page. `texts` holds the text under each element that has an id."""

    url: str
    status: int
    lang: str | None = None
    forms: list[Form] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    text: str = ""

    def form_with(self, *, field_name: str | None = None, button: str | None = None) -> Form | None:
        for form in self.forms:
            if (field_name is None or field_name in form.names()) and (button is None or button in form.ids()):
                return form
        return None


class _Reader(HTMLParser):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        self.open: list[tuple[str, str | None]] = []
        self.form: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self.open.append((tag, given.get("id")))
        if given.get("id"):
            self.page.texts.setdefault(given["id"], "")
        if tag == "html":
            self.page.lang = given.get("lang")
        elif tag == "form":
            action = urljoin(self.page.url, given.get("action") or self.page.url)
            self.form = Form(action, given.get("method", "get").lower())
            self.page.forms.append(self.form)
        elif tag == "a" and "href" in given:
            self.page.links.append(urljoin(self.page.url, given["href"]))
        elif tag in {"input", "button", "select", "textarea"} and self.form is not None:
            self._control(self.form, tag, given)

    def _control(self, form: Form, tag: str, given: dict[str, str]) -> None:
        kind = given.get("type") or ("submit" if tag == "button" else "text")
        if kind in {"checkbox", "radio"} and "checked" not in given:
            return
        target = urljoin(self.page.url, given["formaction"]) if given.get("formaction") else None
        form.controls.append(Control(given.get("name"), given.get("value", ""), kind, given.get("id"), target))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None
        if any(name == tag for name, _ in self.open):
            while self.open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        if any(name in {"script", "style"} for name, _ in self.open):
            return
        self.page.text += data
        for _, identity in self.open:
            if identity:
                self.page.texts[identity] += data


def parse_page(url: str, status: int, html: str) -> Page:
    page = Page(url, status)
    reader = _Reader(page)
    reader.feed(html)
    reader.close()
    page.texts = {identity: " ".join(text.split()) for identity, text in page.texts.items()}
    page.text = " ".join(page.text.split())
    return page
