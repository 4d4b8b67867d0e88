"""What the documents want, with the secrets behind their references: the left side of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tegata.crypto.digests import digest_of
from tegata.crypto.passwords import MAX_PASSWORD_CHARACTERS
from tegata.flows.admin.client_checks import jwks_faults
from tegata.flows.admin.documents import (
    ClientDocument,
    ClientSpec,
    Document,
    RoleDocument,
    TenantDocument,
    UserDocument,
)
from tegata.flows.admin.problems import InvalidDocuments, Path, Problem, path_text
from tegata.flows.admin.references import References, Unresolvable, read_jwks
from tegata.identity.account import Role
from tegata.protocol.client import ClientMetadata
from tegata.protocol.policy import TenantPolicy

MIN_SECRET_CHARACTERS = 32  # RFC 6749 §10.10 asks for 128 bits; nobody types these
MIN_PASSWORD_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class DesiredClient:
    """A client as its document states it. `secret_digests` None leaves the stored secrets alone."""

    document: Document
    client_id: str
    metadata: ClientMetadata
    secret_digests: tuple[bytes, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DesiredAccount:
    """A user as its document states it. `password` None leaves the stored one alone."""

    document: Document
    username: str
    claims: Mapping[str, Any] = field(repr=False)
    roles: tuple[str, ...] = ()
    disabled: bool = False
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DesiredRole:
    """A role as its document states it."""

    document: Document
    role: Role


@dataclass(slots=True)
class DesiredTenant:
    """Everything the documents say about one tenant. `policy` None: the tenant itself is not named."""

    name: str
    document: Document
    policy: TenantPolicy | None = None
    clients: list[DesiredClient] = field(default_factory=list)
    roles: list[DesiredRole] = field(default_factory=list)
    users: list[DesiredAccount] = field(default_factory=list)

    def kinds(self) -> frozenset[str]:
        """Return the kinds of which there is at least one document: the ones that pruning may touch."""
        lists = {"Client": self.clients, "Role": self.roles, "User": self.users}
        return frozenset(kind for kind, found in lists.items() if found)


def resolve(documents: Sequence[Document], references: References) -> tuple[DesiredTenant, ...]:
    """Look up every reference. The documents are checked already.

    Raises `InvalidDocuments`, and `SecretError` where a store does not answer.
    """
    references.read(_references_of(documents))
    tenants: dict[str, DesiredTenant] = {}
    problems: list[Problem] = []
    for document in documents:
        tenant = tenants.setdefault(document.tenant, DesiredTenant(document.tenant, document))
        try:
            _add(tenant, document, references)
        except InvalidDocuments as error:
            problems.extend(error.problems)
    if problems:
        raise InvalidDocuments(problems)
    return tuple(tenants.values())


def _references_of(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        match document.content:
            case ClientDocument(spec=spec):
                yield from spec.secret_refs or ()
                yield from () if spec.jwks_ref is None else (spec.jwks_ref,)
            case UserDocument(spec=user) if user.password_ref is not None:
                yield user.password_ref


def _add(tenant: DesiredTenant, document: Document, references: References) -> None:
    content = document.content
    match content:
        case TenantDocument():
            tenant.policy, tenant.document = content.spec, document
        case RoleDocument():
            spec = content.spec
            tenant.roles.append(DesiredRole(document, Role(content.metadata.name, spec.description, spec.permissions)))
        case ClientDocument():
            tenant.clients.append(_client(document, content, references))
        case UserDocument():
            spec_ = content.spec
            password = _password(document, spec_.password_ref, references)
            tenant.users.append(
                DesiredAccount(document, content.metadata.name, spec_.claims, spec_.roles, spec_.disabled, password)
            )


def _client(document: Document, content: ClientDocument, references: References) -> DesiredClient:
    jwks = _jwks(document, content.spec, references)
    digests: list[bytes] | None = None
    if content.spec.secret_refs is not None:
        digests = []
        for index, reference in enumerate(content.spec.secret_refs):
            path: Path = ("spec", "secret_refs", index)
            secret = _resolve(document, path, reference, references)
            if len(secret) < MIN_SECRET_CHARACTERS or not secret.isascii() or not secret.isprintable():
                message = f"leads to a secret that is not at least {MIN_SECRET_CHARACTERS} printable ASCII characters"
                raise InvalidDocuments([document.problem(path, message)])
            digests.append(digest_of(secret))
    return DesiredClient(
        document,
        content.metadata.name,
        content.spec.metadata(jwks),
        None if digests is None else tuple(dict.fromkeys(digests)),
    )


def _jwks(document: Document, spec: ClientSpec, references: References) -> dict[str, Any] | None:
    if spec.jwks_ref is None:
        return None
    path: Path = ("spec", "jwks_ref")
    try:
        jwks = read_jwks(references, spec.jwks_ref)
    except Unresolvable as error:
        raise InvalidDocuments([document.problem(path, str(error))]) from None
    faults = list(_jwks_problems(document, path, jwks))
    if faults:
        raise InvalidDocuments(faults)
    return jwks


def _jwks_problems(document: Document, path: Path, jwks: Mapping[str, Any]) -> Iterator[Problem]:
    for inner, message in jwks_faults(jwks):
        yield document.problem(path, f"leads to a JWK set whose {path_text(inner)} {message}")


def _password(document: Document, reference: str | None, references: References) -> str | None:
    if reference is None:
        return None
    path: Path = ("spec", "password_ref")
    password = _resolve(document, path, reference, references)
    if not MIN_PASSWORD_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        message = f"leads to a password that is not {MIN_PASSWORD_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters"
        raise InvalidDocuments([document.problem(path, message)])
    return password


def _resolve(document: Document, path: Path, reference: str, references: References) -> str:
    try:
        return references.resolve(reference)
    except Unresolvable as error:
        raise InvalidDocuments([document.problem(path, str(error))]) from None
