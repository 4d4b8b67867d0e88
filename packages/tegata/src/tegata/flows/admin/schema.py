"""The JSON Schema of the documents, made from the same dataclasses that read them (pitfalls P101)."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter

from tegata.flows.admin.documents import ClientDocument, RoleDocument, TenantDocument, UserDocument

_Any: TypeAlias = Annotated[TenantDocument | ClientDocument | RoleDocument | UserDocument, Field(discriminator="kind")]


def document_schema() -> dict[str, Any]:
    """Return the schema of one document."""
    made = TypeAdapter[Any](_Any).json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tegata configuration as code",
        **made,
    }


def schema_text() -> str:
    """Return the schema as the file in the documentation holds it."""
    return json.dumps(document_schema(), indent=2, ensure_ascii=False) + "\n"
