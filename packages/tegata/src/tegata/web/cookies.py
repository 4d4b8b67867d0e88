"""The cookies of one tenant: session, form protection, known device.

Names hold the tenant, so tenants never read each other's. Over https they carry the `__Host-` prefix (RFC 6265bis
§4.1.3.2): no subdomain and no plain http can set them. SameSite=Lax: a POST from another site brings none.
"""

from __future__ import annotations

from dataclasses import dataclass

from tegata.api.http import Request
from tegata.flows.browser import Browser

_DEVICE_SECONDS = 400 * 24 * 3600  # the longest that browsers keep (RFC 6265bis §5.5)


@dataclass(frozen=True, slots=True)
class Cookies:
    """Reads and writes the cookies; `secure` when the server is reached over https."""

    secure: bool

    def read(self, request: Request, tenant: str) -> Browser:
        """Return what the browser sent for this tenant."""
        return Browser(
            session_secret=request.cookie(self._name("session", tenant)),
            csrf_secret=request.cookie(self._name("form", tenant)),
            device=request.cookie(self._name("device", tenant)),
        )

    def session(self, tenant: str, secret: str) -> tuple[bytes, bytes]:
        """Return the header that sets the session; it ends with the browser, or when the store says so."""
        return self._set("session", tenant, secret)

    def no_session(self, tenant: str) -> tuple[bytes, bytes]:
        """Return the header that removes the session."""
        return self._set("session", tenant, "", max_age=0)

    def form(self, tenant: str, secret: str) -> tuple[bytes, bytes]:
        """Return the header that sets the secret behind the tokens of forms."""
        return self._set("form", tenant, secret)

    def device(self, tenant: str, value: str) -> tuple[bytes, bytes]:
        """Return the header that lets this browser be known again at its next sign-in."""
        return self._set("device", tenant, value, max_age=_DEVICE_SECONDS)

    def _name(self, kind: str, tenant: str) -> str:
        return f"{'__Host-' if self.secure else ''}tegata-{kind}-{tenant}"

    def _set(self, kind: str, tenant: str, value: str, *, max_age: int | None = None) -> tuple[bytes, bytes]:
        parts = [f"{self._name(kind, tenant)}={value}", "Path=/", "HttpOnly", "SameSite=Lax"]
        if self.secure:
            parts.append("Secure")
        if max_age is not None:
            parts.append(f"Max-Age={max_age}")
        return (b"set-cookie", "; ".join(parts).encode())
