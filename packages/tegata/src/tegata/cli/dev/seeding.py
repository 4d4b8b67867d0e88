"""The two example tenants, loaded by the same flow as `tegata apply`, and the playground's client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tegata.cli.dev import made_secrets
from tegata.cli.dev.examples import tenant_files
from tegata.flows.admin.apply import Operator, apply
from tegata.flows.admin.checks import check_documents
from tegata.flows.admin.desired import resolve
from tegata.flows.admin.documents import (
    API_VERSION,
    ClientDocument,
    ClientSpec,
    Document,
    MemberName,
    TenantDocument,
    UserDocument,
    parse_documents,
)
from tegata.flows.admin.plan import Plan
from tegata.flows.admin.references import standard_references
from tegata.flows.admin.yaml_reader import RawDocument
from tegata.protocol.policy import TenantPolicy

PLAYGROUND_TENANT = "demo"
PLAYGROUND_CLIENT = "demo-playground"


@dataclass(frozen=True, slots=True)
class Seed:
    """The example tenants' documents and the secrets made for them."""

    documents: tuple[Document, ...]
    values: Mapping[str, str] = field(repr=False)

    def policies(self) -> dict[str, TenantPolicy]:
        """Return the tenants by name, in order."""
        return {d.tenant: d.content.spec for d in self.documents if isinstance(d.content, TenantDocument)}

    def clients(self, tenant: str) -> Sequence[ClientDocument]:
        """Return a tenant's clients, in order."""
        return [d.content for d in self.documents if isinstance(d.content, ClientDocument) and d.tenant == tenant]

    def users(self, tenant: str) -> Sequence[UserDocument]:
        """Return a tenant's users, in order."""
        return [d.content for d in self.documents if isinstance(d.content, UserDocument) and d.tenant == tenant]

    def secret(self, client: ClientDocument) -> str | None:
        """Return a client's secret, if it has one."""
        references = client.spec.secret_refs
        return made_secrets.value_of(references[0], self.values) if references else None

    def private_keys(self, client: ClientDocument) -> dict[str, Any] | None:
        """Return a client's private JWK set, if it has one."""
        reference = client.spec.jwks_ref
        return None if reference is None else made_secrets.private_jwks(reference, self.values)

    def password(self, user: UserDocument) -> str:
        """Return a user's password."""
        assert user.spec.password_ref is not None
        return made_secrets.value_of(user.spec.password_ref, self.values)


def read_seed(known: Mapping[str, str]) -> Seed:
    """Read the example tenants, and make the secrets that `known` lacks."""
    documents = tuple(d for path in tenant_files() for d in parse_documents(path.read_bytes(), str(path)))
    return Seed(documents, made_secrets.complete(documents, known))


async def plant(operator: Operator, seed: Seed, *, base_url: str) -> Plan:
    """Apply the example tenants and the playground's client; changes nothing the second time."""
    documents = (*seed.documents, playground_document(base_url))
    check_documents(documents, allow_loopback_http=True)
    references = made_secrets.as_references(seed.values)
    return await apply(operator, resolve(documents, standard_references(references)))


def playground_document(base_url: str) -> Document:
    """Return the client of the landing page's playground: it knows the address only now."""
    page = f"{base_url}/playground"
    spec = ClientSpec(
        client_name="Playground",
        token_endpoint_auth_method="none",
        grant_types=("authorization_code", "refresh_token"),
        redirect_uris=(page,),
        post_logout_redirect_uris=(page,),
    )
    metadata = MemberName(PLAYGROUND_CLIENT, PLAYGROUND_TENANT)
    return Document(ClientDocument(API_VERSION, "Client", metadata, spec), RawDocument("tegata dev", {}, {}))
