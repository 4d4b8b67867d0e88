"""Consent: remember what a user allowed a client, then go on with the request (OIDC Core §3.1.2.4)."""

from __future__ import annotations

from tegata.flows import authorize
from tegata.flows.browser import Answer, Browser, NeedsPage
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.storage.records import ConsentRecord
from tegata.telemetry.audit import Origin, event


async def approve(
    services: Services, loaded: LoadedTenant, page: NeedsPage, browser: Browser, origin: Origin
) -> Answer | NeedsPage:
    """Store the consent that `page` asked its user for, and finish the request."""
    assert page.found is not None  # a consent page is made for somebody
    user = page.found.user
    now = services.clock()
    consent = ConsentRecord(
        user_id=user.user_id,
        client_id=page.client.client_id,
        scopes=frozenset(page.request.scopes),
        claims=page.request.claims.personal_names(),
        resources=frozenset(page.request.resources),
        granted_at=now,
    )
    granted = event(
        "consent.granted",
        now=now,
        origin=origin,
        actor=str(user.user_id),
        client_id=page.client.client_id,
        details={"scope": " ".join(page.request.scopes)[:500]},
    )
    await services.storage.store_consent(loaded.tenant_id, consent, events=[granted])
    return await authorize.resume(services, loaded, page.handle, browser, origin, account_chosen=True, approved=True)
