"""How a rotation can fail, and what is still true then. No message holds a value."""

from __future__ import annotations

from tegata_credentials.errors import CredentialError


class RotationError(CredentialError):
    """A step has failed. Repeating the same step with the same token is always safe; whether it helps, `is_retryable`
    says. `still_valid` says which credential works meanwhile, in words for the operator who reads the alarm.

    >>> error = DatabaseConnectionError("the server does not answer")
    >>> error.is_retryable, error.still_valid
    (True, 'the current credential is unchanged and valid')
    """

    is_retryable = True
    still_valid = "the current credential is unchanged and valid"


class RotationRefused(RotationError):
    """The event is not one that may be acted upon: another secret, a token without a version, a step out of order.

    >>> RotationRefused("setSecret came before createSecret").is_retryable
    False
    """

    is_retryable = False


class RotationBusy(RotationError):
    """Another invocation is at the same secret at this moment; nothing was done.

    >>> RotationBusy("another invocation is at it").is_retryable
    True
    """


class NotYet(RotationError):
    """It is too early: a cache or a replica has to catch up first. Come back in `retry_after` seconds.

    >>> error = NotYet("the reader is behind", 5.0)
    >>> print(error, error.retry_after)
    the reader is behind; try again in 5 s 5.0
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(f"{message}; try again in {retry_after:.0f} s")
        self.retry_after = retry_after


class DatabaseConnectionError(RotationError):
    """The database could not be reached or would not let us in, so nothing has been changed there.

    >>> DatabaseConnectionError("the server does not answer").still_valid
    'the current credential is unchanged and valid'
    """


class PasswordUpdateError(RotationError):
    """The new password could not be set; the old one is valid, and a person has to look.

    >>> print(PasswordUpdateError("the rotator lacks the right"))
    the rotator lacks the right; the current credential is unchanged and valid; a person has to look into this
    """

    is_retryable = False

    def __str__(self) -> str:
        return f"{super().__str__()}; {self.still_valid}; a person has to look into this"


class TestFailed(RotationError):
    """The new credential does not work yet, so it does not become current.

    >>> TestFailed("the new login is refused").is_retryable
    True
    """

    __test__ = False  # not a test of pytest
