"""UserInfo (OIDC Core §5.3)."""

from __future__ import annotations

from typing import Any

from tegata.flows import access_tokens
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.protocol import bearer
from tegata.protocol import claims as claims_rules
from tegata.protocol.claims import ClaimsRequest
from tegata.protocol.errors import insufficient_scope, invalid_token
from tegata.protocol.parameters import Parameters


async def userinfo(
    services: Services, loaded: LoadedTenant, authorization: str | None, form: Parameters | None
) -> dict[str, Any]:
    """Return the claims. Raises `OAuthError` with `invalid_token`, `insufficient_scope` or `invalid_request`."""
    if form is not None:
        form.check_not_repeated()
    token = bearer.read(authorization, form)
    live = await access_tokens.find(services, loaded, token)
    if live is None:
        raise invalid_token("the access token is not valid", "token_inactive")
    if "openid" not in live.scopes or live.grant is None or live.user is None:
        raise insufficient_scope("the access token was not issued for openid")
    request = ClaimsRequest.from_document(live.grant.claims)
    answer = claims_rules.for_userinfo(live.user, live.scopes, request, loaded.tenant.policy)
    return {**answer, "sub": live.subject}
