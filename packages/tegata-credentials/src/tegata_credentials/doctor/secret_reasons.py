"""What the doctor can find on the way to a secret: what it means, and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Reason:
    """One kind of fault in plain words."""

    says: str
    fix: str


SECRETS: Mapping[str, Reason] = MappingProxyType(
    {
        "secret_name_wrong": Reason("{problem}", "Write it so; a value belongs into the store, not here."),
        "secrets_region_missing": Reason(
            "no AWS region is set", "Set AWS_REGION, or the region of the profile that AWS_PROFILE names."
        ),
        "secrets_kit_incomplete": Reason(
            "AWS Secrets Manager cannot be asked: {problem}",
            "Install tegata-credentials with the extra `aws`, or correct what is named.",
        ),
        "secrets_endpoint_silent": Reason(
            "{host}:{port}, the address of Secrets Manager, {why}",
            "Check the region. In a VPC without a way out: the interface endpoint com.amazonaws.REGION.secretsmanager, "
            "its private DNS and its security group.",
        ),
        "secret_missing": Reason(
            "{secret} is not there ({why})", "Create it, or correct its name, the account or the region."
        ),
        "secret_denied": Reason(
            "{secret} may not be read ({why})",
            "Correct what is named. `aws sts get-caller-identity` says as whom AWS is asked.",
        ),
        "secret_throttled": Reason(
            "{secret} is not given at the moment ({why})",
            "See what else in this account reads secrets without a cache: SecretService asks once in five minutes.",
        ),
        "secret_unavailable": Reason(
            "{secret} cannot be read at the moment ({why})", "Correct what is named, then run this again."
        ),
        "secret_unreadable": Reason("{secret} holds no usable text: it {why}", "Write the value there anew."),
        "secret_malformed": Reason(
            "{secret} is not what a {shape} secret holds: {why}",
            "Write it in the shape that the reference page shows; a rotation keeps what else it holds.",
        ),
        "secret_without_current": Reason(
            "{secret} has no version labelled AWSCURRENT",
            "Give the label to the version that works: `aws secretsmanager update-secret-version-stage`.",
        ),
        "rotation_stuck": Reason(
            "{secret}: a rotation began at least {hours} h ago and has not ended (AWSPENDING is on version {version})",
            "Read the log of what rotates, then let it try again; a repeated step does no harm. Do not take the label "
            "away by hand: a single user may then be locked out.",
        ),
        "rotation_overdue": Reason(
            "{secret}: a rotation was due {days} days ago",
            "Read the log of what rotates, and see that its alarm reaches somebody.",
        ),
        "secret_file_writable": Reason(
            "{path} may be changed by others on this machine", "Take their rights away: `chmod go-w`."
        ),
        "secret_file_readable": Reason(
            "{path} may be read by everybody on this machine",
            "`chmod 600` and the owner that the service runs as; in a container, mount it as a secret.",
        ),
    }
)
