"""Sign in with username and password: throttle, check, start a session.

The attempt is counted before the password is checked (pitfalls P71), and a wrong password takes as long for an account
that does not exist as for one that does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import uuid4

from tegata.crypto import passwords
from tegata.crypto.digests import base64url, digest_of, keyed_digest, matches, new_secret
from tegata.crypto.envelope import derive_key
from tegata.flows.browser import Browser
from tegata.flows.directory import LoadedTenant
from tegata.flows.services import Services
from tegata.identifiers import Digest, SessionId
from tegata.identity.account import User, normalize_username
from tegata.identity.session import Session
from tegata.identity.throttle import ThrottleBucket, address_prefix
from tegata.protocol.errors import OAuthError
from tegata.protocol.interaction import ACR_PASSWORD
from tegata.storage.records import PasswordRecord
from tegata.telemetry.audit import Origin, event

MAX_USERNAME_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new session. `session_secret` and `device` go into cookies."""

    user: User
    session: Session
    session_secret: str = field(repr=False)
    device: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotSignedIn:
    """A refusal for the page: `reason` is wrong_credentials or throttled, with the seconds to wait."""

    reason: str
    wait_seconds: int = 0


async def sign_in(
    services: Services, loaded: LoadedTenant, username: str, password: str, *, browser: Browser, origin: Origin
) -> SignedIn | NotSignedIn:
    """Check the password and start a session."""
    login = normalize_username(username[:MAX_USERNAME_CHARACTERS])
    now = services.clock()
    # One account has one counter, by whatever name it is called; a login that nobody has is counted as it was written.
    found = await services.storage.find_password(loaded.tenant_id, login)
    account = str(found.user.user_id) if found is not None else f"nobody|{login}"
    buckets = _buckets(services, loaded, account, browser, origin)
    wait = await services.storage.count_attempt(loaded.tenant_id, buckets, services.throttle, now=now)
    if wait > 0:
        _audit_failure(services, loaded, origin, None, "throttled", now=now)
        return NotSignedIn("throttled", max(1, round(wait)))
    right = await services.passwords.verify(found.password_hash if found else None, password)
    if found is None or not right or found.user.disabled:
        reason = "unknown_user" if found is None else "user_disabled" if right else "wrong_password"
        _audit_failure(services, loaded, origin, found.user if found else None, reason, now=now)
        return NotSignedIn("wrong_credentials")
    await services.storage.clear_attempts(loaded.tenant_id, [buckets[0].key])
    # Of the address this attempt alone is forgotten: one good password must not buy free guesses at other accounts.
    if addresses := [bucket.key for bucket in buckets[1:]]:
        await services.storage.take_back_attempt(loaded.tenant_id, addresses, now=now)
    await _rehash(services, loaded, found, password)
    return await _start(services, loaded, found.user, browser=browser, origin=origin)


async def _start(services: Services, loaded: LoadedTenant, user: User, *, browser: Browser, origin: Origin) -> SignedIn:
    now = services.clock()
    secret = new_secret()
    session = Session(
        session_id=SessionId(uuid4()),
        user_id=user.user_id,
        auth_time=int(now),
        amr=("pwd",),
        acr=ACR_PASSWORD,
        created_at=now,
        last_seen_at=now,
        expires_at=now + loaded.tenant.policy.session_lifetime_seconds,
    )
    succeeded = event(
        "sign_in.succeeded",
        now=now,
        origin=origin,
        actor=str(user.user_id),
        details={"method": "password", "session": str(session.session_id)},
    )
    await services.storage.start_session(
        loaded.tenant_id,
        Digest(digest_of(secret)),
        session,
        replaces=browser.session_digest,
        events=[succeeded],
    )
    return SignedIn(user, session, secret, _device(loaded, str(user.user_id)))


def _buckets(
    services: Services, loaded: LoadedTenant, account: str, browser: Browser, origin: Origin
) -> list[ThrottleBucket]:
    """Return the account's bucket, then the address's.

    A browser that knows the account has one bucket of its own and no other: neither who guesses at the account nor who
    guesses from the same address keeps its owner out.
    """
    limits = services.throttle
    if browser.device is not None and matches(digest_of(_device(loaded, account)), browser.device):
        return [ThrottleBucket(digest_of(f"device|{browser.device}"), limits.account_failures)]
    return [
        ThrottleBucket(digest_of(f"account|{account}"), limits.account_failures),
        ThrottleBucket(digest_of(f"address|{address_prefix(origin.address)}"), limits.address_failures),
    ]


def _device(loaded: LoadedTenant, account: str) -> str:
    """Return what a browser is given after a sign-in to be known again; it proves nothing but that (pitfalls P70)."""
    return base64url(keyed_digest(derive_key(loaded.tenant.pairwise_salt, "device"), account))


async def _rehash(services: Services, loaded: LoadedTenant, found: PasswordRecord, password: str) -> None:
    """Replace a hash of outdated parameters. It can wait: the password was right, whatever the pool has to do."""
    if found.password_hash is not None and passwords.needs_rehash(found.password_hash):
        try:
            new_hash = await services.passwords.hash(password)
        except OAuthError:  # too many checks wait; the next sign-in tries again
            return
        await services.storage.update_password_hash(
            loaded.tenant_id, found.user.user_id, old=found.password_hash, new=new_hash
        )


def _audit_failure(
    services: Services, loaded: LoadedTenant, origin: Origin, user: User | None, reason: str, *, now: float
) -> None:
    failed = event(
        "sign_in.failed",
        now=now,
        origin=origin,
        outcome="failure",
        actor=str(user.user_id) if user is not None else None,
        reason=reason,
    )
    # Failures of an account are bounded by its throttle; the others by nothing.
    (services.audit.add if user is not None else services.audit.add_repeatable)(loaded.tenant_id, failed)
