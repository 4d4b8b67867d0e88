"""The documents of configuration as code: their shape (`apiVersion: tegata.dev/v1`) and how they are read.

`spec` is the value the rules themselves use (`TenantPolicy`, `ClientMetadata`), plus references to secrets, so that a
field cannot exist in one place only. Unknown fields are refused: a misspelt one would silently have its default
(pitfalls P40).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from tegata.flows.admin import names, references
from tegata.flows.admin.problems import InvalidDocuments, Path, Problem
from tegata.flows.admin.yaml_reader import RawDocument, read_documents
from tegata.protocol.client import ClientMetadata
from tegata.protocol.policy import TenantPolicy

API_VERSION: Final = "tegata.dev/v1"
MAX_DOCUMENTS = 5_000

_STRICT: dict[str, object] = {"extra": "forbid"}
Reference: TypeAlias = Annotated[str, Field(pattern=f"^{references.PATTERN}$")]


@dataclass(frozen=True, slots=True)
class TenantName:
    """`metadata` of a Tenant."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    name: Annotated[str, Field(pattern=f"^{names.TENANT_PATTERN}$")]


@dataclass(frozen=True, slots=True)
class MemberName:
    """`metadata` of everything that belongs to a tenant."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    name: Annotated[str, Field(min_length=1)]
    tenant: Annotated[str, Field(pattern=f"^{names.TENANT_PATTERN}$")]


@dataclass(frozen=True, slots=True)
class ClientSpec(ClientMetadata):
    """`spec` of a Client: its metadata, and where its secrets and keys are.

    Without `secret_refs` the stored secrets stay. Two of them are both good, so that a secret is replaced without
    an outage. `jwks_ref` leads to a JWK set that is not written into the document.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    secret_refs: Annotated[tuple[Reference, ...], Field(max_length=5)] | None = None
    jwks_ref: Reference | None = None

    def metadata(self, jwks: Mapping[str, Any] | None) -> ClientMetadata:
        """Return what is stored about the client, with the keys that `jwks_ref` led to."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(ClientMetadata)}
        return ClientMetadata(**{**values, "jwks": self.jwks if jwks is None else jwks})


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """`spec` of a Role."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    description: str = ""
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserSpec:
    """`spec` of a User: claims (OIDC Core §5.1 and the tenant's own), roles, and where the password is.

    Without `password_ref` the stored password stays.
    """

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    claims: Mapping[str, Any] = field(default_factory=dict)
    roles: tuple[str, ...] = ()
    disabled: bool = False
    password_ref: Reference | None = None


@dataclass(frozen=True, slots=True)
class TenantDocument:
    """A tenant and its policy."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    apiVersion: Literal["tegata.dev/v1"]
    kind: Literal["Tenant"]
    metadata: TenantName
    spec: TenantPolicy = field(default_factory=TenantPolicy)


@dataclass(frozen=True, slots=True)
class ClientDocument:
    """A client of a tenant; `metadata.name` is its client_id."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    apiVersion: Literal["tegata.dev/v1"]
    kind: Literal["Client"]
    metadata: MemberName
    spec: ClientSpec = field(default_factory=ClientSpec)


@dataclass(frozen=True, slots=True)
class RoleDocument:
    """A role of a tenant."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    apiVersion: Literal["tegata.dev/v1"]
    kind: Literal["Role"]
    metadata: MemberName
    spec: RoleSpec = field(default_factory=RoleSpec)


@dataclass(frozen=True, slots=True)
class UserDocument:
    """A user of a tenant; `metadata.name` is the username."""

    __pydantic_config__: ClassVar[dict[str, object]] = _STRICT

    apiVersion: Literal["tegata.dev/v1"]
    kind: Literal["User"]
    metadata: MemberName
    spec: UserSpec = field(default_factory=UserSpec)


Content: TypeAlias = TenantDocument | ClientDocument | RoleDocument | UserDocument
KINDS: Mapping[str, type[Content]] = {
    "Tenant": TenantDocument,
    "Client": ClientDocument,
    "Role": RoleDocument,
    "User": UserDocument,
}


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read, with what is needed to point at a fault in it."""

    content: Content
    raw: RawDocument

    @property
    def tenant(self) -> str:
        """The name of the tenant it is about."""
        metadata = self.content.metadata
        return metadata.name if isinstance(metadata, TenantName) else metadata.tenant

    @property
    def title(self) -> str:
        """The document's name in messages."""
        return _title(self.content.kind, self.content.metadata.name, self.tenant)

    def problem(self, path: Path, message: str) -> Problem:
        """Return a fault in this document."""
        return Problem(self.raw.source, self.raw.line_of(path), self.title, path, message)


def parse_documents(text: str | bytes, source: str) -> tuple[Document, ...]:
    """Read the documents of one file. Their shape is right afterwards, their sense is checked by `checks`.

    Raises `InvalidDocuments` with the faults of all documents.
    """
    raws = read_documents(text, source)
    if len(raws) > MAX_DOCUMENTS:
        raise InvalidDocuments([Problem(source, None, "", (), f"holds more than {MAX_DOCUMENTS} documents")])
    found: list[Document] = []
    problems: list[Problem] = []
    for raw in raws:
        try:
            found.append(_typed(raw))
        except InvalidDocuments as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidDocuments(problems)
    return tuple(found)


def _typed(raw: RawDocument) -> Document:
    value = raw.value
    if not isinstance(value, dict):
        raise _shape_problem(raw, (), "the document is not a mapping of apiVersion, kind, metadata and spec")
    if value.get("apiVersion") != API_VERSION:
        raise _shape_problem(raw, ("apiVersion",), f"must be {API_VERSION}")
    kind = value.get("kind")
    wanted = KINDS.get(kind) if isinstance(kind, str) else None
    if wanted is None:
        raise _shape_problem(raw, ("kind",), f"must be one of {', '.join(KINDS)}")
    present = {name: part for name, part in value.items() if part is not None or name != "spec"}
    try:
        # By way of JSON: strict there still takes a list for a tuple, and nothing else for anything else.
        content = _ADAPTERS[wanted].validate_json(json.dumps(present), strict=True)
    except ValidationError as error:
        raise InvalidDocuments(_field_problem(raw, details) for details in error.errors()) from None
    return Document(content, raw)


_ADAPTERS: Mapping[type[Content], TypeAdapter[Content]] = {kind: TypeAdapter(kind) for kind in KINDS.values()}


def _field_problem(raw: RawDocument, details: ErrorDetails) -> Problem:
    # A union (`x | None`) puts the name of its branch into the location; only what stands in the document is a path.
    path: Path = ()
    for part in details["loc"]:
        if (*path, part) in raw.lines or details["type"] == "missing":
            path = (*path, part)
    message = _MESSAGES.get(details["type"], details["msg"][:1].lower() + details["msg"][1:])
    if details["type"] == "string_pattern_mismatch":
        named = path[-1:] in {("name",), ("tenant",)}
        message = (names.problem_with_tenant_name(str(details["input"])) if named else None) or _NO_REFERENCE
    return Problem(raw.source, raw.line_of(path), _raw_title(raw), path, message)


_NO_REFERENCE = "must be a reference to a secret: env:NAME or file:/path"
_MESSAGES = {
    "unexpected_keyword_argument": "is not a field of this kind; is it misspelt?",
    "missing": "is missing",
    "string_type": "must be text; put it in quotes",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "tuple_type": "must be a list",
    "mapping_type": "must be a mapping of names to values",
    "dataclass_type": "must be a mapping of names to values",
    "dict_type": "must be a mapping of names to values",
}


def _shape_problem(raw: RawDocument, path: Path, message: str) -> InvalidDocuments:
    return InvalidDocuments([Problem(raw.source, raw.line_of(path), _raw_title(raw), path, message)])


def _raw_title(raw: RawDocument) -> str:
    value = raw.value if isinstance(raw.value, dict) else {}
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return _title(value.get("kind"), metadata.get("name"), metadata.get("tenant"))


def _title(kind: object, name: object, tenant: object) -> str:
    if not isinstance(kind, str) or not isinstance(name, str):
        return ""
    owner = f"{tenant}/" if isinstance(tenant, str) and kind != "Tenant" else ""
    return f"{kind} {owner}{name}"[:200]
