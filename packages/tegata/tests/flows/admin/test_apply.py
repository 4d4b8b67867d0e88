"""Applying documents: idempotent, partial, with secrets as digests and an audit event for each change."""

from __future__ import annotations

import json

import pytest

from tegata.crypto.digests import digest_of
from tegata.crypto.keys import generate_key, parse_private, public_jwk
from tegata.crypto.passwords import verify_password
from tegata.flows.admin.apply import carry_out, plan_for
from tegata.flows.admin.plan import Change, Plan
from tegata.flows.admin.problems import InvalidDocuments
from tegata.flows.directory import SIGNING_KEY_PURPOSE
from tegata.storage.errors import Conflict

from .conftest import Desk
from .documents_of import SECRET, SECRETS, client, desired, document, role, tenant, user

pytestmark = pytest.mark.anyio

EVERYTHING = (
    tenant(scopes=[{"name": "read"}], display_name="Acme"),
    role("member", permissions=["a:read"]),
    client(scope="openid read"),
    user(roles=["member"], claims={"name": "Jo", "department": "ops"}, password_ref="env:PASSWORD"),
)


def found(plan: Plan, kind: str, name: str | None = None) -> Change:
    (change,) = [c for c in plan.changes if c.kind == kind and name in (None, c.name)]
    return change


def touched(plan: Plan) -> list[tuple[str, str, str]]:
    return [(c.kind, c.name, c.action) for c in plan.changes if c.action != "unchanged"]


async def test_a_new_tenant_gets_what_its_documents_say(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    acme = await desk.tenant()
    assert acme.record.policy.display_name == "Acme"
    assert acme.roles["member"].permissions == ("a:read",)
    assert acme.clients["web"].metadata.scope == "openid read"
    jo = acme.users["jo"]
    assert (jo.user.username, jo.user.roles, dict(jo.user.claims)) == (
        "jo",
        ("member",),
        {"name": "Jo", "department": "ops"},
    )


async def test_applying_twice_changes_nothing(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    before, events = await desk.tenant(), await desk.events()
    again = await desk.apply(*EVERYTHING)
    assert again.is_empty
    assert await desk.tenant() == before
    assert await desk.events() == events


async def test_order_is_tenant_keys_role_client_user_whatever_the_order_of_documents(desk: Desk) -> None:
    plan = await desk.apply(*reversed(EVERYTHING))
    kinds = [change.kind for change in plan.changes]
    assert kinds == ["Tenant", *["SigningKey"] * 4, "Role", "Client", "User"]


async def test_a_new_tenant_has_an_active_and_a_next_key_for_each_algorithm(desk: Desk) -> None:
    await desk.apply(tenant())
    acme = await desk.tenant()
    assert sorted((key.algorithm, key.state) for key in acme.keys) == [
        ("ES256", "active"),
        ("ES256", "next"),
        ("RS256", "active"),
        ("RS256", "next"),
    ]
    for key in acme.keys:
        owner = str(acme.record.tenant_id)
        private = desk.envelope.open(key.sealed_private_key, tenant=owner, purpose=SIGNING_KEY_PURPOSE)
        assert parse_private(private).as_dict(private=False)["kid"] == key.kid == key.public_jwk["kid"]
        assert "d" not in key.public_jwk


async def test_tenants_have_their_own_ids_salts_and_keys(desk: Desk) -> None:
    await desk.apply(tenant("acme"), tenant("beta"))
    acme, beta = await desk.tenant("acme"), await desk.tenant("beta")
    assert acme.record.tenant_id != beta.record.tenant_id
    assert acme.record.pairwise_salt != beta.record.pairwise_salt
    assert {key.kid for key in acme.keys}.isdisjoint(key.kid for key in beta.keys)


async def test_an_interrupted_run_is_completed_by_the_next(desk: Desk) -> None:
    """The tenant was made, and nothing else."""
    await desk.apply(tenant())
    acme = await desk.tenant()
    tables = desk.storage._state.of(acme.record.tenant_id)
    for key in acme.keys:
        if (key.algorithm, key.state) != ("ES256", "active"):
            del tables.keys[key.kid]
    assert touched(await desk.apply(tenant())) == [
        ("SigningKey", "ES256 next", "create"),
        ("SigningKey", "RS256 active", "create"),
        ("SigningKey", "RS256 next", "create"),
    ]


async def test_documents_that_are_not_named_stay(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    await desk.apply(client("second"))
    acme = await desk.tenant()
    assert set(acme.clients) == {"web", "second"}
    assert set(acme.users) == {"jo"}


async def test_a_change_is_told_field_by_field(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    plan = await desk.diff(
        user(
            roles=["member"], claims={"name": "Jo B", "department": "ops", "locale": "en"}, password_ref="env:PASSWORD"
        )
    )
    differences = {d.field: (d.before, d.after) for d in found(plan, "User").differences}
    assert differences == {"claims.name": ("Jo", "Jo B"), "claims.locale": (None, "en")}


async def test_a_field_that_is_left_out_goes_back_to_its_default(desk: Desk) -> None:
    await desk.apply(tenant(display_name="Acme", access_token_format="opaque"))
    plan = await desk.apply(tenant(display_name="Acme"))
    assert [d.field for d in found(plan, "Tenant").differences] == ["access_token_format"]
    assert (await desk.tenant()).record.policy.access_token_format == "jwt"


async def test_diff_changes_nothing(desk: Desk) -> None:
    await desk.diff(*EVERYTHING)
    assert await desk.storage.find_tenant("acme") is None


async def test_secrets_are_kept_as_digests(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    (kept,) = (await desk.tenant()).clients["web"].secrets
    assert kept.digest == digest_of(SECRET)


async def test_a_document_without_secret_refs_leaves_stored_secrets_alone(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    plan = await desk.apply(client(scope="openid read", secret_refs=...))
    assert plan.is_empty
    await desk.apply(client(scope="read", secret_refs=...))
    assert len((await desk.tenant()).clients["web"].secrets) == 1


async def test_a_secret_is_replaced_without_an_outage(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    plan = await desk.apply(client(scope="openid read", secret_refs=["env:SECRET", "env:NEWER_SECRET"]))
    (difference,) = found(plan, "Client").differences
    assert difference.secret
    assert (difference.before, difference.after) == (None, None)
    wanted = {digest_of(SECRET), digest_of(SECRETS["NEWER_SECRET"])}
    assert {secret.digest for secret in (await desk.tenant()).clients["web"].secrets} == wanted
    await desk.apply(client(scope="openid read", secret_refs=["env:NEWER_SECRET"]))
    assert len((await desk.tenant()).clients["web"].secrets) == 1


async def test_the_order_of_secrets_does_not_matter(desk: Desk) -> None:
    await desk.apply(tenant(), client(secret_refs=["env:SECRET", "env:NEWER_SECRET"]))
    assert (await desk.apply(client(secret_refs=["env:NEWER_SECRET", "env:SECRET"]))).is_empty


async def test_a_password_is_hashed_only_when_it_is_another_one(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    first = (await desk.tenant()).users["jo"].password_hash
    assert verify_password(first, SECRETS["PASSWORD"])
    await desk.apply(user(roles=["member"], password_ref="env:PASSWORD"))
    assert (await desk.tenant()).users["jo"].password_hash == first
    plan = await desk.apply(user(roles=["member"], password_ref="env:NEWER_PASSWORD"))
    assert [d.field for d in found(plan, "User").differences if d.secret] == ["password_ref"]
    assert verify_password((await desk.tenant()).users["jo"].password_hash, SECRETS["NEWER_PASSWORD"])


async def test_a_user_without_password_ref_keeps_the_password(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    first = (await desk.tenant()).users["jo"].password_hash
    await desk.apply(user(disabled=True))
    jo = (await desk.tenant()).users["jo"]
    assert (jo.password_hash, jo.user.disabled) == (first, True)


async def test_an_account_keeps_its_id_when_it_is_changed_or_its_name_written_otherwise(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    user_id = (await desk.tenant()).users["jo"].user.user_id
    plan = await desk.apply(user("JO", roles=["member"]))
    assert "username" in {d.field for d in found(plan, "User").differences}
    assert (await desk.tenant()).users["jo"].user.user_id == user_id


async def test_each_change_writes_one_event_without_values(desk: Desk) -> None:
    await desk.apply(*EVERYTHING)
    await desk.apply(user(roles=["member"], claims={"name": "Very private name"}, password_ref="env:NEWER_PASSWORD"))
    events = await desk.events()
    assert [event.type for event in events] == [
        "tenant.created",
        *["signing_key.created"] * 4,
        "role.created",
        "client.created",
        "user.created",
        "user.updated",
    ]
    assert {event.actor for event in events} == {"operator"}
    assert events[-1].details["fields"] == "claims.name,claims.department,password_ref"
    told = repr(events)
    for secret in (*SECRETS.values(), "Very private name", "argon2"):
        assert secret not in told


@pytest.mark.parametrize("prune", [False, True])
async def test_pruning_is_explicit_and_stays_within_the_kinds_that_are_named(desk: Desk, prune: bool) -> None:
    await desk.apply(*EVERYTHING, client("old"), role("unused"), user("sam", claims={"name": "Sam"}))
    plan = await desk.apply(client(scope="openid read"), prune=prune)
    assert touched(plan) == ([("Client", "old", "delete")] if prune else [])
    acme = await desk.tenant()
    assert set(acme.clients) == ({"web"} if prune else {"web", "old"})
    assert set(acme.users) == {"jo", "sam"}
    assert set(acme.roles) == {"member", "unused"}


async def test_pruning_never_touches_another_tenant(desk: Desk) -> None:
    await desk.apply(*EVERYTHING, tenant("beta"), document("Role", "beta-role", tenant="beta"))
    await desk.apply(*EVERYTHING, role("other"), prune=True)
    assert set((await desk.tenant("beta")).roles) == {"beta-role"}


async def test_pruning_deletes_users_before_roles(desk: Desk) -> None:
    await desk.apply(*EVERYTHING, role("old"), user("sam", roles=["old"]))
    plan = await desk.apply(*EVERYTHING, prune=True)
    assert touched(plan) == [("User", "sam", "delete"), ("Role", "old", "delete")]


async def test_a_role_that_a_stored_user_has_is_not_pruned(desk: Desk) -> None:
    await desk.apply(*EVERYTHING, role("old"), user("sam", roles=["old"]))
    with pytest.raises(InvalidDocuments, match="role old, which the stored user sam has"):
        await desk.apply(role("member", permissions=["a:read"]), prune=True)


async def refusal(desk: Desk, *texts: str, **secrets: str) -> str:
    with pytest.raises(InvalidDocuments) as caught:
        await desk.apply(*texts, **secrets)
    return str(caught.value)


async def test_what_shows_only_in_comparison_is_refused_before_any_change(desk: Desk) -> None:
    assert "tenant acme, which does not exist" in await refusal(desk, client())
    assert "boss, which is not a role" in await refusal(desk, tenant(), user(roles=["boss"]))
    assert "spec.scope holds read" in await refusal(desk, tenant(), client(scope="read"))
    assert "needs a secret" in await refusal(desk, tenant(), client(secret_refs=...))
    assert await desk.storage.find_tenant("acme") is None


async def test_references_that_lead_nowhere_are_told_without_the_secret(desk: Desk) -> None:
    told = await refusal(desk, tenant(), client(secret_refs=["env:ABSENT"]), user(password_ref="file:/nowhere/at/all"))
    assert "leads nowhere (env:ABSENT): not found, the environment variable ABSENT is not set" in told
    assert "spec.password_ref leads nowhere (file:/nowhere/at/all)" in told
    assert "32" in await refusal(desk, tenant(), client(), SECRET="short-secret")
    assert "short-secret" not in await refusal(desk, tenant(), client(), SECRET="short-secret")
    assert "8" in await refusal(desk, tenant(), user(password_ref="env:PASSWORD"), PASSWORD="short")


async def test_keys_by_reference_are_stored_and_private_ones_refused(desk: Desk) -> None:
    public = json.dumps({"keys": [public_jwk(generate_key("ES256"))]})
    spec = {"token_endpoint_auth_method": "private_key_jwt", "secret_refs": ..., "jwks_ref": "env:KEYS"}
    await desk.apply(tenant(), client(**spec), KEYS=public)
    jwks = (await desk.tenant()).clients["web"].metadata.jwks
    assert jwks is not None
    assert jwks["keys"][0]["crv"] == "P-256"
    private = public.replace('"kty"', '"d": "c2VjcmV0", "kty"')
    assert "private" in await refusal(desk, client(**spec), KEYS=private)
    assert "JSON" in await refusal(desk, client(**spec), KEYS="no json")


async def test_a_tenant_made_by_somebody_else_in_the_meantime_is_a_conflict(desk: Desk) -> None:
    plan = await plan_for(desk.storage, desired(tenant()))
    await desk.apply(tenant())
    with pytest.raises(Conflict):
        await carry_out(desk.operator, plan, {})
