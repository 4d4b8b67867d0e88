"""What AWS documents of Secrets Manager and moto does otherwise. Runs in moto's process, in front of its application.

moto keeps the values; which label is on which version, whether a version may be written and whether a rotation may
begin is decided here. Sources: AWS Secrets Manager API Reference (CreateSecret, PutSecretValue, UpdateSecret,
UpdateSecretVersionStage, DescribeSecret, ListSecretVersionIds, RotateSecret, GetSecretValue) and User Guide, "Rotation
by Lambda function".
"""

from __future__ import annotations

import copy
import io
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .labels import CURRENT, PENDING, Refused, moved, put

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
Document = dict[str, Any]

ROTATION_HEADER = "x-tegata-rotation"
"""How RotateSecret was understood: `started`, `resumed`, `testing` or `done`. The proxy does not pass it on."""


class Contract:
    """A WSGI application in front of moto's: one request for Secrets Manager at a time, everything else as it comes."""

    def __init__(self, moto: Application, backend_of: Callable[[str], Any]) -> None:
        self._moto = moto
        self._backend_of = backend_of  # region -> moto's backend of Secrets Manager
        self._lock = threading.Lock()
        self._operations: dict[str, Callable[[_Request], Document]] = {
            "BatchGetSecretValue": self._batch_get_secret_value,
            "CreateSecret": self._create_secret,
            "DescribeSecret": self._describe_secret,
            "ListSecretVersionIds": self._list_secret_version_ids,
            "PutSecretValue": self._put_secret_value,
            "RotateSecret": self._rotate_secret,
            "SetRotationLambda": self._set_rotation_lambda,
            "StopReplicationToReplica": self._stop_replication_to_replica,
            "UpdateSecret": self._update_secret,
            "UpdateSecretVersionStage": self._update_secret_version_stage,
        }

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        service, _, operation = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")
        if service != "secretsmanager":
            return self._moto(environ, start_response)
        content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        request = _Request(environ, json.loads(content or b"{}"), operation)
        with self._lock:
            status, document = self._answer(request)
        body = json.dumps(document).encode()
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))]
        start_response(f"{status} -", headers + request.answer_headers)
        return [body]

    def _answer(self, request: _Request) -> tuple[int, Document]:
        operation = self._operations.get(request.operation)
        try:
            return (200, operation(request)) if operation else (200, self._forward(request))
        except Refused as refused:
            # moto says 404 where Secrets Manager says 400.
            return refused.status, {"__type": refused.code, "message": str(refused)}

    def _forward(self, request: _Request, **changes: Any) -> Document:
        """Let moto answer; raise `Refused` with what it refuses."""
        body = json.dumps(request.body | changes).encode()
        environ = request.environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        told: list[str] = []
        content = b"".join(self._moto(environ, lambda status, headers, exc_info=None: told.append(status)))
        document: Document = json.loads(content or b"{}")
        status = int(told[0].split()[0])
        if status >= 300:
            message = str(document.get("message", document.get("Message", "")))
            raise Refused(
                str(document.get("__type", "InternalServiceError")), message, status=max(400, status) // 100 * 100
            )
        return document

    def _secret(self, request: _Request, key: str = "SecretId") -> Any:
        """Return moto's secret; None if there is none or it is a replica, for moto to refuse."""
        secrets = self._backend_of(request.region).secrets
        name = request.body.get(key, "")
        secret = secrets.get(name)
        if secret is None or hasattr(secret, "source"):
            return None
        if secret.is_deleted():
            raise Refused("InvalidRequestException", "The secret is marked for deletion.")
        return secret

    # Values: a version is written once.

    def _create_secret(self, request: _Request) -> Document:
        secret = self._secret(request, "Name")
        if secret is not None and self._is_known(secret, request):
            return _short(secret, request.body["ClientRequestToken"])
        return self._forward(request)

    def _put_secret_value(self, request: _Request) -> Document:
        secret = self._secret(request)
        token = request.body.setdefault("ClientRequestToken", str(uuid.uuid4()))
        if secret is None or not request.has_value:
            return self._forward(request)
        if not self._is_known(secret, request):
            before = _labels(secret)
            stages = frozenset(request.body.get("VersionStages") or [CURRENT])
            self._write(secret, request, lambda: self._forward(request, VersionStages=["tegata-put"]))
            _set_labels(secret, put(before, token, stages))
        return _short(secret, token) | {"VersionStages": sorted(secret.versions[token]["version_stages"])}

    def _update_secret(self, request: _Request) -> Document:
        secret = self._secret(request)
        if secret is None or not request.has_value:
            return self._forward(request)
        token = request.body.setdefault("ClientRequestToken", str(uuid.uuid4()))
        if not self._is_known(secret, request):
            before = _labels(secret)
            self._write(secret, request, lambda: self._forward(request))
            _set_labels(secret, put(before, token, frozenset({CURRENT})))
        return _short(secret, token)

    def _write(self, secret: Any, request: _Request, write: Callable[[], object]) -> None:
        """Let moto add the version, also where a rotation has announced it without a value."""
        announced = secret.versions.pop(request.body["ClientRequestToken"], None)
        default, secret.default_version_id = secret.default_version_id, None
        try:
            write()
        except Refused:
            if announced is not None:
                secret.versions[request.body["ClientRequestToken"]] = announced
            secret.default_version_id = default
            raise

    def _is_known(self, secret: Any, request: _Request) -> bool:
        """Say whether the token has this very value already; refuse another one."""
        version = secret.versions.get(request.body.get("ClientRequestToken"))
        if version is None or not _has_value(version):
            return False
        for key, sent in (("secret_string", "SecretString"), ("secret_binary", "SecretBinary")):
            if version.get(key) != request.body.get(sent):
                token = request.body["ClientRequestToken"]
                raise Refused(
                    "ResourceExistsException",
                    f"You can't use ClientRequestToken {token} because that value is already in use for a version of "
                    f"secret {secret.arn}.",
                )
        return True

    # Labels.

    def _update_secret_version_stage(self, request: _Request) -> Document:
        secret, body = self._secret(request), request.body
        if secret is None:
            return self._forward(request)
        new = moved(_labels(secret), body["VersionStage"], body.get("RemoveFromVersionId"), body.get("MoveToVersionId"))
        _set_labels(secret, new)
        return {"ARN": secret.arn, "Name": secret.name}

    def _describe_secret(self, request: _Request) -> Document:
        document = self._forward(request)
        labelled = {version: stages for version, stages in document.get("VersionIdsToStages", {}).items() if stages}
        return document | {"VersionIdsToStages": labelled}

    def _list_secret_version_ids(self, request: _Request) -> Document:
        document = self._forward(request)
        arn = self._forward(request.one("DescribeSecret", {"SecretId": request.body["SecretId"]}))["ARN"]
        versions = document["Versions"]
        if not request.body.get("IncludeDeprecated"):
            versions = [version for version in versions if version["VersionStages"]]
        return {"ARN": arn, "Name": document["Name"], "Versions": versions}

    def _batch_get_secret_value(self, request: _Request) -> Document:
        names = request.body.get("SecretIdList")
        if not names or request.body.get("Filters"):
            return self._forward(request)
        values: list[Document] = []
        errors: list[Document] = []
        for name in names:
            try:
                values.append(self._forward(request.one("GetSecretValue", {"SecretId": name})))
            except Refused as refused:
                errors.append({"SecretId": name, "ErrorCode": refused.code, "Message": str(refused)})
        return {"SecretValues": values, "Errors": errors}

    def _stop_replication_to_replica(self, request: _Request) -> Document:
        """Make a replica a secret of its own, which moto does not know. It is asked for in the replica's region."""
        backend = self._backend_of(request.region)
        replica = backend.secrets.get(request.body["SecretId"])
        if replica is None or not hasattr(replica, "source"):
            raise Refused(
                "InvalidRequestException" if replica else "ResourceNotFoundException", "There is no such replica."
            )
        own = copy.deepcopy(replica.source)
        own.arn, own.region, own.replicas = replica.arn, replica.region, []
        own.rotation_requested = own.rotation_enabled = False
        own.rotation_lambda_arn = ""
        replica.source.replicas.remove(replica)
        dict.pop(backend.secrets, replica.arn)
        backend.secrets[own.name] = own
        return {"ARN": own.arn}

    # Rotation: begun here, carried out by whoever plays Secrets Manager's part.

    def _set_rotation_lambda(self, request: _Request) -> Document:
        """Keep the function's ARN without beginning a rotation; no operation of AWS, for `RotationService.register`."""
        secret = self._secret(request)
        if secret is None:
            return self._describe_secret(request.one("DescribeSecret", {"SecretId": request.body.get("SecretId", "")}))
        secret.rotation_lambda_arn = request.body["RotationLambdaARN"]
        secret.rotation_requested = secret.rotation_enabled = True
        return {"ARN": secret.arn, "Name": secret.name}

    def _rotate_secret(self, request: _Request) -> Document:
        secret, body = self._secret(request), request.body
        if secret is None:
            return self._forward(request)
        token = body.get("ClientRequestToken") or str(uuid.uuid4())
        if not body.get("RotationLambdaARN") and not secret.rotation_lambda_arn:
            raise Refused(
                "InvalidRequestException",
                "You tried to enable rotation on a secret that doesn't already have a Lambda function ARN configured "
                "and you didn't include such an ARN as a parameter in this call.",
            )
        how = _begin(secret, token, is_immediate=body.get("RotateImmediately", True))
        secret.rotation_lambda_arn = body.get("RotationLambdaARN") or secret.rotation_lambda_arn
        secret.rotation_requested = secret.rotation_enabled = True
        rules = body.get("RotationRules") or {}
        secret.auto_rotate_after_days = rules.get("AutomaticallyAfterDays", secret.auto_rotate_after_days)
        request.answer_headers.append((ROTATION_HEADER, how))
        return _short(secret, token)


class _Request:
    def __init__(self, environ: Environ, body: Document, operation: str) -> None:
        self.environ = environ
        self.body = body
        self.operation = operation
        self.answer_headers: list[tuple[str, str]] = []

    @property
    def has_value(self) -> bool:
        return bool(self.body.get("SecretString") or self.body.get("SecretBinary"))

    @property
    def region(self) -> str:
        """Return the region that the request was signed for."""
        scope = re.search(r"Credential=[^/]*/\d+/([a-z0-9-]+)/", self.environ.get("HTTP_AUTHORIZATION", ""))
        return scope[1] if scope else "us-east-1"

    def one(self, operation: str, body: Document) -> _Request:
        return _Request(self.environ | {"HTTP_X_AMZ_TARGET": f"secretsmanager.{operation}"}, body, operation)


def _begin(secret: Any, token: str, *, is_immediate: bool) -> str:
    labels = _labels(secret)
    pending = next((version for version, stages in labels.items() if PENDING in stages), None)
    current = next((version for version, stages in labels.items() if CURRENT in stages), None)
    if pending is not None and pending not in (current, token):
        raise Refused(
            "InvalidRequestException", "A previous rotation isn't complete. That rotation will be reattempted."
        )
    if token in labels:
        if token == pending:
            return "done" if token == current else "resumed"
        raise Refused(
            "ResourceExistsException",
            f"You can't use ClientRequestToken {token} because that value is already in use for a version of secret "
            f"{secret.arn}.",
        )
    version = {"createdate": int(time.time()), "version_id": token, "version_stages": []}
    if not is_immediate and current is not None:
        kept = secret.versions[current]
        version |= {key: kept[key] for key in ("secret_string", "secret_binary") if key in kept}
    secret.versions[token] = version
    _set_labels(secret, {**{each: stages - {PENDING} for each, stages in labels.items()}, token: frozenset({PENDING})})
    return "started" if is_immediate else "testing"


def _labels(secret: Any) -> dict[str, frozenset[str]]:
    return {version: frozenset(found["version_stages"]) for version, found in secret.versions.items()}


def _set_labels(secret: Any, labels: Mapping[str, frozenset[str]]) -> None:
    for version, stages in labels.items():
        secret.versions[version]["version_stages"] = sorted(stages)
    # moto answers a read without label or version from this one, and does not move it with the label.
    secret.default_version_id = next((version for version, stages in labels.items() if CURRENT in stages), None)


def _has_value(version: Mapping[str, Any]) -> bool:
    return "secret_string" in version or "secret_binary" in version


def _short(secret: Any, token: str) -> Document:
    return {"ARN": secret.arn, "Name": secret.name, "VersionId": token}
