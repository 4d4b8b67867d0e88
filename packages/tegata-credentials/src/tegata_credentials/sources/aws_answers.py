"""What an error of AWS or of its SDK means for a secret, in the kit's words; the SDK's own text goes nowhere.

AWS Secrets Manager API Reference, "Common Errors", `GetSecretValue` and `BatchGetSecretValue`.
"""

from __future__ import annotations

import re

from tegata_credentials.errors import (
    SecretAccessDenied,
    SecretError,
    SecretNotFound,
    SecretThrottled,
    SecretUnavailable,
)

_THROTTLED = frozenset(
    [
        "ThrottlingException",
        "Throttling",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "TooManyRequestsException",
        "RequestLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "429",
    ]
)
_STALE = frozenset(["ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"])
_UNSIGNED = frozenset(
    [
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "AuthFailure",
    ]
)
_DENIED = frozenset(
    ["AccessDeniedException", "AccessDenied", "NotAuthorized", "OptInRequired", "UnauthorizedOperation", "403"]
)
_INVALID = frozenset(["InvalidParameterException", "ValidationException", "ValidationError"])
_UNKNOWN_CALL = frozenset(
    [
        "UnknownOperationException",
        "UnknownOperation",
        "InvalidAction",
        "NotImplemented",
        "NotImplementedException",
        "501",
    ]
)
_ALLOW = (
    "allow secretsmanager:GetSecretValue on it, in the policy of this identity and, in another account, on the secret"
)


def explain(secret: str, error: Exception, region: str | None = None) -> SecretError:
    """Translate what the SDK has raised."""
    from botocore import exceptions as sdk

    if isinstance(error, sdk.ClientError):
        says = error.response.get("Error", {})
        return explain_code(secret, str(says.get("Code", "")), str(says.get("Message", "")), region)
    if isinstance(error, sdk.ParamValidationError):
        return SecretNotFound(secret, "AWS has no such names")
    return SecretUnavailable(secret, _why_unavailable(error))


def explain_code(secret: str, code: str, message: str = "", region: str | None = None) -> SecretError:
    """Translate an error code of an answer, also of one secret in a batch. `message` is read, never repeated."""
    if code == "ResourceNotFoundException":
        if "staging label" in message or "VersionId" in message:
            return SecretNotFound(secret, "the secret has no version with this label")
        return SecretNotFound(
            secret, _elsewhere(secret, region) or "there is none of this name in this account and region"
        )
    if code == "InvalidRequestException":
        if "deletion" in message or "deleted" in message:
            return SecretNotFound(
                secret, "is marked for deletion: bring it back with `aws secretsmanager restore-secret`"
            )
        return SecretNotFound(secret, "has no value in its present state: see `aws secretsmanager describe-secret`")
    if code in _THROTTLED:
        return SecretThrottled(secret, "still too many requests after all retries")
    if code in _INVALID:
        return SecretNotFound(secret, "AWS has no such names")
    refused = _why_refused(code, message)
    if refused is not None:
        return SecretAccessDenied(secret, refused)
    # A code is a word; what is none may be anything.
    word = code if re.fullmatch(r"[A-Za-z0-9.]{1,64}", code) else "an error without a code"
    return SecretUnavailable(secret, f"Secrets Manager answers {word}")


def refuses_batch(error: Exception) -> bool:
    """Whether a batch is not allowed to this identity, or not known at this address."""
    code = _code_of(error)
    return code in _DENIED or code in _UNKNOWN_CALL


def finds_batch_invalid(error: Exception) -> bool:
    """Whether something in a batch is not valid, so that one bad name would spoil the others."""
    from botocore.exceptions import ParamValidationError

    return isinstance(error, ParamValidationError) or _code_of(error) in _INVALID


def is_about_credentials(error: Exception) -> bool:
    """Whether another look at where credentials come from may help."""
    from botocore import exceptions as sdk

    return _code_of(error) in _STALE or isinstance(error, sdk.NoCredentialsError | sdk.CredentialRetrievalError)


def _code_of(error: Exception) -> str:
    from botocore.exceptions import ClientError

    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _why_refused(code: str, message: str) -> str | None:
    if code == "DecryptionFailure" or code.startswith("KMS") or (code in _DENIED and "KMS" in message):
        return "its KMS key does not decrypt for this identity: allow kms:Decrypt, and see that the key is enabled"
    if code in _DENIED:
        return _ALLOW
    if code in _STALE:
        return "the IAM credentials of this process have ended or are unknown to AWS: give it a role, or sign in again"
    if code in _UNSIGNED:
        return "AWS does not accept the signature: check this machine's clock, then the secret access key"
    return None


def _why_unavailable(error: Exception) -> str:
    from botocore import exceptions as sdk

    absent = (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.ProfileNotFound, sdk.ConfigNotFound)
    if isinstance(error, absent):
        return "no IAM credentials found: give the task, function or machine a role, or set AWS_PROFILE"
    if isinstance(error, sdk.NoRegionError):
        return "no AWS region is set: set AWS_REGION"
    if isinstance(error, sdk.ConnectTimeoutError | sdk.ReadTimeoutError):
        return "no answer in time: check the route to Secrets Manager, or its VPC endpoint and security group"
    if isinstance(error, sdk.SSLError):
        return "its certificate is not trusted here: check AWS_CA_BUNDLE, and for a proxy that ends TLS"
    if isinstance(error, sdk.HTTPClientError | sdk.ConnectionError):
        return "cannot be reached: check the region and the route, or the VPC endpoint"
    if isinstance(error, _not_renewed()):
        return "the IAM credentials cannot be renewed: see the role, or sign in again"
    return f"the SDK failed with {type(error).__name__}"


def _not_renewed() -> tuple[type[Exception], ...]:
    from botocore import exceptions as sdk

    # The last one is younger than the oldest SDK that will do.
    known = ("CredentialRetrievalError", "TokenRetrievalError", "NoAuthTokenError", "SSOError", "LoginError")
    return tuple(getattr(sdk, name) for name in known if hasattr(sdk, name))


def _elsewhere(secret: str, region: str | None) -> str | None:
    named = re.match(r"arn:[^:]*:secretsmanager:([a-z0-9-]+):", secret)
    if named is None or region is None or named[1] == region:
        return None
    return f"its ARN is of the region {named[1]}, and {region} was asked"
