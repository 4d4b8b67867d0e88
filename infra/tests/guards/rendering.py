"""Values of templates as text that a rule can look at: references become `<LogicalId>`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def render(value: Any) -> str:
    """Return a value as text. `Fn::Join` and `Fn::Sub` are put together, a reference is its target's name in <>."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return str(value)
    match value:
        case {"Fn::Join": [separator, parts]}:
            return str(separator).join(render(part) for part in parts)
        case {"Fn::Sub": str(text)} | {"Fn::Sub": [str(text), _]}:
            return text
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case {"Fn::ImportValue": name}:
            return f"<{render(name)}>"
        case {"Fn::Select": [index, parts]}:
            return f"<select {index} of {render(parts)}>"
        case {"Fn::Split": [separator, text]}:
            return f"<split {separator} {render(text)}>"
        case {"Fn::Base64": inner}:
            return render(inner)
        case {"Fn::If": [_, yes, no]}:
            return f"{render(yes)} or {render(no)}"
    return str(value)


def listed(value: Any) -> list[Any]:
    """Return what IAM takes alone or as a list as a list."""
    return value if isinstance(value, list) else [] if value is None else [value]


def statements(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the statements of a policy document."""
    if isinstance(document, dict):
        yield from listed(document.get("Statement"))
