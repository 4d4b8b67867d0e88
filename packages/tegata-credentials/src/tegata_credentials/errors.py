"""What can go wrong before a database is reached. No message, argument or cause of these ever holds a credential."""

from __future__ import annotations


class CredentialError(Exception):
    """Something is set up in a way that cannot work or would be unsafe; the message names the cure.

    >>> issubclass(SecretError, CredentialError) and issubclass(IdentityUnavailable, CredentialError)
    True
    """


class IdentityUnavailable(CredentialError):
    """No credential could be obtained, so no login was tried.

    `reason` is a short word for logs and metrics:

    - `unreachable`: the identity endpoint does not answer
    - `timeout`: it answers too slowly
    - `refused`: it answered with a refusal (`status` is the HTTP status, if it is known)
    - `failing`: it answered with an error of its own, HTTP 404, 410, 429 or 5xx
    - `bad_answer`: it answered with something that is no token
    - `not_configured`: this machine or process has no identity
    - `provider_error`: the provider failed in another way
    - `rejected`: there were tokens, but the database rejected each before it could be used
    - `cancelled`: the event loop ended before there was an answer
    - `closed`: the source has been closed

    >>> print(IdentityUnavailable("refused", "the role is not assigned"))
    no database credential: refused (the role is not assigned)
    """

    def __init__(self, reason: str, hint: str = "", *, status: int | None = None) -> None:
        super().__init__(f"no database credential: {reason}" + (f" ({hint})" if hint else ""))
        self.reason = reason
        self.hint = hint
        self.status = status

    def again(self) -> IdentityUnavailable:
        """Return an equal error without traceback, for another caller: one shared object would chain their frames."""
        return IdentityUnavailable(self.reason, self.hint, status=self.status)


def missing_extra(extra: str, module: str) -> CredentialError:
    """Build the error for an optional dependency that is not installed."""
    return CredentialError(f"`{module}` is not installed: install `tegata-credentials[{extra}]`")


class SecretError(CredentialError):
    """A secret could not be had. `secret` is the id that was asked for; no message ever holds a value.

    `http_status` is what a service that needs the secret should answer its own caller: always 500, without detail.

    >>> error = SecretThrottled("shop-prod-secret-jwt", "try later")
    >>> print(error, error.http_status)
    secret shop-prod-secret-jwt: throttled (try later) 500
    """

    reason = "failed"
    http_status = 500

    def __init__(self, secret: str, hint: str = "") -> None:
        super().__init__(f"secret {secret}: {self.reason}" + (f" ({hint})" if hint else ""))
        self.secret = secret
        self.hint = hint

    def again(self) -> SecretError:
        """Return an equal error without traceback, for another caller: one shared object would chain their frames."""
        return type(self)(self.secret, self.hint)


class SecretNotFound(SecretError):
    """There is no such secret, or no version of it with the label that was asked for.

    >>> print(SecretNotFound("shop-prod-secret-jwt"))
    secret shop-prod-secret-jwt: not_found
    """

    reason = "not_found"


class SecretAccessDenied(SecretError):
    """This identity may not read it. Never answered from a cache, never with a default.

    >>> print(SecretAccessDenied("shop-prod-secret-jwt"))
    secret shop-prod-secret-jwt: access_denied
    """

    reason = "access_denied"


class SecretThrottled(SecretError):
    """The store still said "slow down" after the last retry.

    >>> print(SecretThrottled("shop-prod-secret-jwt"))
    secret shop-prod-secret-jwt: throttled
    """

    reason = "throttled"


class SecretUnavailable(SecretError):
    """The store could not be reached, did not answer in time, or failed itself.

    >>> print(SecretUnavailable("shop-prod-secret-jwt"))
    secret shop-prod-secret-jwt: unavailable
    """

    reason = "unavailable"


class SecretMalformed(SecretError):
    """The value is not what the model says.

    >>> print(SecretMalformed("shop-prod-secret-jwt"))
    secret shop-prod-secret-jwt: malformed
    """

    reason = "malformed"
