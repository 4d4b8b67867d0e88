"""Consent: remember what a user allowed a client, then go on with the request (OIDC Core §3.1.2.4)."""

from __future__ import annotations

from tegata.flows import authorize
from tegata.flows.browser import Answer, Browser, NeedsPage
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.storage.records import ConsentRecord
from tegata.telemetry.audit import Origin, event


async def approve(
    services: Services, loaded: LoadedTenant, handle: str, browser: Browser, origin: Origin, *, shown_to: str
) -> Answer | NeedsPage:
    """Store the consent and finish the request.

    `shown_to` is the user the page was made for: if the browser's session is another's by now, the page is shown
    again instead.
    """
    page = await authorize.resume(services, loaded, handle, browser, origin)
    if not isinstance(page, NeedsPage) or page.kind != "consent" or page.found is None:
        return page
    user = page.found.user
    if str(user.user_id) != shown_to:
        return page
    now = services.clock()
    consent = ConsentRecord(
        user_id=user.user_id,
        client_id=page.client.client_id,
        scopes=frozenset(page.request.scopes),
        claims=page.request.claims.personal_names(),
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
    return await authorize.resume(services, loaded, handle, browser, origin, account_chosen=True, approved=True)
