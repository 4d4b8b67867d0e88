"""The JSON Schema of documents about secrets that are rotated, made from the models that read them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

from tegata.cli.rotation.documents import RotatedSecretDocument

_DURATION = TypeAdapter(timedelta)


def rotation_schema() -> dict[str, Any]:
    """Return the schema of one document."""
    made = RotatedSecretDocument.model_json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Secrets that Tegata rotates",
        **_as_written({name: part for name, part in made.items() if name != "title"}),
    }


def _as_written(part: Any) -> Any:
    """Durations as documents write them (30d), where the model has its own form."""
    if isinstance(part, list):
        return [_as_written(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("format") != "duration":
        return {name: _as_written(each) for name, each in part.items()}
    rest = {name: each for name, each in part.items() if name not in {"format", "default"}}
    if isinstance(part.get("default"), str):
        rest["default"] = _short(_DURATION.validate_python(part["default"]))
    return {**rest, "pattern": "^[1-9][0-9]{0,6}[smhd]$"}


def _short(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    return f"{seconds // 86_400}d" if seconds % 86_400 == 0 else f"{seconds}s"
