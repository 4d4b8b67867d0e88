"""What Secrets Manager sends to a rotation function: one of four steps, for one secret and one token.

AWS Secrets Manager User Guide, "Rotation by Lambda function".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from tegata_credentials.rotation.errors import RotationRefused

Step = Literal["createSecret", "setSecret", "testSecret", "finishSecret"]
STEPS: tuple[Step, ...] = get_args(Step)
_LONGEST_SECRET, _LONGEST_TOKEN = 2048, 64  # API Reference: SecretId, ClientRequestToken


@dataclass(frozen=True, slots=True)
class RotationEvent:
    """One step that is to be done. `token` names the version that is being made.

    Example:

        >>> RotationEvent.parse({"SecretId": "db", "ClientRequestToken": "5f1c", "Step": "createSecret"}).step
        'createSecret'
    """

    secret: str
    token: str
    step: Step

    @classmethod
    def parse(cls, event: object) -> RotationEvent:
        """Read the event; what else it holds (RotationToken, fields to come) is left alone. Raises `RotationRefused`.

        The message names the field and never repeats what stands in it.
        """
        if not isinstance(event, Mapping):
            raise RotationRefused("a rotation event is an object with SecretId, ClientRequestToken and Step")
        secret = _text(event, "SecretId", _LONGEST_SECRET)
        token = _text(event, "ClientRequestToken", _LONGEST_TOKEN)
        named = _text(event, "Step", _LONGEST_TOKEN)
        step = next((step for step in STEPS if step == named), None)
        if step is None:
            raise RotationRefused(f"Step is none of {', '.join(STEPS)}")
        return cls(secret, token, step)


def _text(event: Mapping[Any, Any], name: str, longest: int) -> str:
    value = event.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
        raise RotationRefused(f"{name} is missing from the rotation event, or is no text of 1 to {longest} characters")
    return value
