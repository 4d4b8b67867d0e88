"""The metadata service of an instance with IMDSv2 alone, and Parameter Store for its role."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from local_aws.serving import Quiet, serving

REGION = "ap-northeast-1"
ROLE = "nginx"
KEY = "ASIA0000000000000000"
_CREDENTIALS = {
    "Code": "Success",
    "Type": "AWS-HMAC",
    "AccessKeyId": KEY,
    "SecretAccessKey": "of-the-instance",
    "Token": "session-of-the-instance",
    "LastUpdated": "2026-01-01T00:00:00Z",
    "Expiration": "2099-01-01T00:00:00Z",
}
_BASE = "/latest/meta-data/"
_SHOWN = {
    "placement/region": REGION,
    "iam/security-credentials/": ROLE,
    f"iam/security-credentials/{ROLE}": json.dumps(_CREDENTIALS),
}


class Metadata:
    """Answers nobody without a token (EC2, "Use the Instance Metadata Service")."""

    def __init__(self) -> None:
        self.url = ""
        self.tokens: set[str] = set()
        self.refused = 0
        self.faults: list[int] = []
        """What the next requests get instead: a status, or 0 for no answer until the client has lost its patience."""

    @contextmanager
    def serve(self) -> Iterator[Metadata]:
        """Answer until the end of the block."""
        metadata = self

        class Handler(Quiet):
            def fails(self) -> bool:
                fault = metadata.faults.pop(0) if metadata.faults else None
                if fault == 0:
                    self.connection.settimeout(60)
                    self.connection.recv(1)  # it hangs up
                    self.hang_up()
                elif fault is not None:
                    self.answer(fault)
                return fault is not None

            def do_PUT(self) -> None:
                self.read()
                if self.fails():
                    return
                lifetime = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
                if self.resource != "/latest/api/token" or not lifetime.isdigit() or self.headers["X-Forwarded-For"]:
                    self.answer(400)
                    return
                token = secrets.token_urlsafe()
                metadata.tokens.add(token)
                self.answer(200, token.encode())

            def do_GET(self) -> None:
                if self.fails():
                    return
                if self.headers.get("X-aws-ec2-metadata-token") not in metadata.tokens:
                    metadata.refused += 1
                    self.answer(401)
                    return
                shown = _SHOWN.get(self.resource.removeprefix(_BASE))
                self.answer(200 if shown else 404, (shown or "").encode())

        with serving(Handler) as self.url:
            yield self


class Parameters:
    """Parameter Store, for whoever signs with the credentials of the instance's role."""

    def __init__(self) -> None:
        self.url = ""
        self.values: dict[str, str] = {}
        self.asked: list[str] = []

    @contextmanager
    def serve(self) -> Iterator[Parameters]:
        """Answer until the end of the block."""
        parameters = self

        class Handler(Quiet):
            def do_POST(self) -> None:
                asked = json.loads(self.read())
                parameters.asked.append(asked["Name"])
                assert self.headers["X-Amz-Target"] == "AmazonSSM.GetParameter"
                signed = self.headers["Authorization"]
                value = parameters.values.get(asked["Name"])
                if f"Credential={KEY}/" not in signed or f"/{REGION}/ssm/" not in signed:
                    self.tell(400, {"__type": "AccessDeniedException"})
                elif value is None:
                    self.tell(400, {"__type": "ParameterNotFound"})
                else:
                    self.tell(200, {"Parameter": {"Name": asked["Name"], "Type": "String", "Value": value}})

            def tell(self, status: int, document: dict[str, object]) -> None:
                self.answer(status, json.dumps(document).encode(), "application/x-amz-json-1.1")

        with serving(Handler) as self.url:
            yield self
