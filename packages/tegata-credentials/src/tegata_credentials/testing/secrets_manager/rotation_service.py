"""Secrets Manager's part in a rotation: it makes the token and calls the function, step by step.

Sources: AWS Secrets Manager User Guide, "Rotation by Lambda function" (the event, the four steps, what must be true at
the end); API Reference, RotateSecret. How often AWS calls again after a failure is not documented, so here it is said.
"""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Literal

from .calls import is_same_secret
from .proxy import RotationRequest
from .stand_in import ACCOUNT, StandIn, StandInError, new_token

Event = dict[str, str]
Invoke = Callable[[Event], object]

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


class InvocationFailed(Exception):
    """The function did not end well, or left labels behind that a finished rotation must not leave.

    It names the step, the token and the class of what was raised, and holds nothing else of it: `RotationService.error`
    does.

    >>> str(InvocationFailed("testSecret", "6f1c", "TestFailed"))
    'testSecret of 6f1c: TestFailed'
    """

    def __init__(self, step: str, token: str, error_type: str) -> None:
        super().__init__(f"{step} of {token}: {error_type}")
        self.step = step
        self.token = token
        self.error_type = error_type


class RotationService:
    """Carries out every RotateSecret that the stand-in grants, by calling what is registered for the secret.

    Deterministic: the events wait in `events` until `run()`, `deliver_next()` or `rotate()`. With `is_threaded=True`
    each rotation is run in a thread at once, as AWS does it; `join()` waits for them.

    A step that fails is repeated until it has been tried `attempts` times, or with `again_from="createSecret"` the
    rotation from its beginning. What has failed for good stays in `events`, and `run()` takes it up again.

    >>> def handler(event):
    ...     client = stand_in.client()
    ...     labels = client.describe_secret(SecretId=event["SecretId"])["VersionIdsToStages"]
    ...     current = next(version for version, stages in labels.items() if "AWSCURRENT" in stages)
    ...     token = event["ClientRequestToken"]
    ...     if event["Step"] == "createSecret":
    ...         client.put_secret_value(
    ...             SecretId=event["SecretId"], ClientRequestToken=token, SecretString="2", VersionStages=["AWSPENDING"]
    ...         )
    ...     if event["Step"] == "finishSecret":
    ...         client.update_secret_version_stage(
    ...             SecretId=event["SecretId"], VersionStage="AWSCURRENT", RemoveFromVersionId=current,
    ...             MoveToVersionId=token,
    ...         )
    ...     client.close()
    >>> with StandIn() as stand_in:
    ...     client = stand_in.client()
    ...     _ = client.create_secret(Name="acme-dev-secret-jwt", SecretString="1")
    ...     service = RotationService(stand_in)
    ...     arn = service.register("acme-dev-secret-jwt", handler)
    ...     token = service.rotate("acme-dev-secret-jwt")
    ...     found = client.get_secret_value(SecretId="acme-dev-secret-jwt")
    ...     found["SecretString"], found["VersionId"] == token
    ...     client.close()
    ('2', True)
    """

    def __init__(
        self,
        stand_in: StandIn,
        *,
        attempts: int = 1,
        again_from: Literal["same step", "createSecret"] = "same step",
        is_threaded: bool = False,
    ) -> None:
        self.attempts = attempts
        self.again_from = again_from
        self.events: deque[Event] = deque()
        self.delivered: list[Event] = []
        self.error: BaseException | None = None
        """What the last invocation that failed has raised."""
        self._stand_in = stand_in
        self._is_threaded = is_threaded
        self._functions: dict[str, Invoke] = {}
        self._threads: list[threading.Thread] = []

    def register(self, secret_id: str, invoke: Invoke) -> str:
        """Make `invoke` the rotation function of an existing secret; return the secret's ARN. Begins nothing."""
        function = f"arn:aws:lambda:{self._stand_in.region}:{ACCOUNT}:function:rotation"
        arn = self._stand_in.set_rotation_lambda(secret_id, function)
        # A secret that was deleted and made again has the same name and another end of its ARN.
        self._functions = {known: each for known, each in self._functions.items() if known[:-7] != arn[:-7]}
        self._functions[arn] = invoke
        self._stand_in.on_rotation(self._begin)  # also after a reset
        return arn

    # As a whole.

    def rotate(self, secret_id: str, token: str | None = None, *, is_immediate: bool = True) -> str:
        """Ask for a rotation and run it; return its token. With the token of an unfinished one, run that one again.

        Raises `InvocationFailed`, or botocore's error if RotateSecret is refused.
        """
        token = self.begin(secret_id, token, is_immediate=is_immediate)
        self.join() if self._is_threaded else self.run()
        return token

    def begin(self, secret_id: str, token: str | None = None, *, is_immediate: bool = True) -> str:
        """Ask for a rotation, through the fault proxy as everybody does; its events are then in `events`."""
        token = token or new_token()
        client = self._stand_in.client(config=_one_try())
        try:
            client.rotate_secret(SecretId=secret_id, ClientRequestToken=token, RotateImmediately=is_immediate)
        finally:
            client.close()
        return token

    def run(self) -> None:
        """Deliver all events, with as many attempts as were agreed. Raises the last `InvocationFailed`."""
        failures = 0
        while self.events:
            try:
                self.deliver_next()
            except InvocationFailed:
                failures += 1
                if failures >= self.attempts:
                    raise
                if self.again_from == "createSecret":
                    self._restart(self.events[0])
            else:
                failures = 0

    def join(self) -> None:
        """Wait for the threads. Raises the first `InvocationFailed` of those that have ended badly."""
        for thread in self._threads:
            thread.join(60)
        self._threads.clear()
        if isinstance(self._failed, InvocationFailed):
            failed, self._failed = self._failed, None
            raise failed

    # Step by step.

    def deliver_next(self) -> Event:
        """Deliver the first event; it stays the first unless that goes well. Whatever is no `Exception` passes."""
        if not self.events:
            raise StandInError("no event is waiting")
        event = self.events[0]
        self.deliver(event)
        if event in self.events:
            self.events.remove(event)
        self._settle(event)
        return event

    def deliver(self, event: Mapping[str, str]) -> None:
        """Call the function with this event, whether it is its turn or not: again, out of order, of an old token."""
        self.delivered.append(dict(event))
        error = self._call(event)
        if error is not None:
            self.error = error
            raise InvocationFailed(event["Step"], event["ClientRequestToken"], type(error).__name__)

    def deliver_together(self, *events: Mapping[str, str]) -> list[BaseException | None]:
        """Deliver these events at the same time, each in a thread; return what each raised. Not what is waiting."""
        outcomes: list[BaseException | None] = [None] * len(events)
        barrier = threading.Barrier(len(events))

        def one(index: int) -> None:
            barrier.wait(60)
            outcomes[index] = self._call(events[index])

        threads = [threading.Thread(target=one, args=(index,), daemon=True) for index in range(len(events))]
        self.delivered += [dict(event) for event in events]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return outcomes

    def events_of(self, secret_id: str, token: str, *steps: str) -> list[Event]:
        """Build the events of a rotation as AWS sends them; all four, or those of `steps`."""
        known = secret_id in self._functions
        arn = secret_id if known else next((it for it in self._functions if is_same_secret(it, secret_id)), secret_id)
        rotation = str(uuid.uuid4())
        return [
            {"Step": step, "SecretId": arn, "ClientRequestToken": token, "RotationToken": rotation}
            for step in steps or STEPS
        ]

    def give_up(self, secret_id: str, token: str) -> None:
        """Do what an operator does to begin anew: take AWSPENDING from the version, forget its events."""
        with suppress(StandInError):
            self._drop_pending(secret_id, token)
        self.events = deque(event for event in self.events if event["ClientRequestToken"] != token)

    # Inside.

    _failed: BaseException | None = None

    def _begin(self, request: RotationRequest) -> None:
        if request.arn not in self._functions or request.how == "done":
            return
        steps = ("testSecret",) if request.how == "testing" else STEPS
        events = self.events_of(request.arn, request.token, *steps)
        if self._is_threaded:
            self._threads.append(threading.Thread(target=self._run_apart, args=(events,), daemon=True))
            self._threads[-1].start()
            return
        self.events = deque(event for event in self.events if event["ClientRequestToken"] != request.token)
        self.events.extend(events)

    def _run_apart(self, events: list[Event]) -> None:
        index = failures = 0
        while index < len(events):
            try:
                self.deliver(events[index])
            except InvocationFailed as failed:
                failures += 1
                if failures >= self.attempts:
                    self._failed = self._failed or failed
                    return
                index = 0 if self.again_from == "createSecret" else index
            else:
                index, failures = index + 1, 0
        with suppress(InvocationFailed):
            self._settle(events[-1], is_last=True)

    def _restart(self, failed: Event) -> None:
        token, secret = failed["ClientRequestToken"], failed["SecretId"]
        if len([event for event in self.events if event["ClientRequestToken"] == token]) == 1 and (
            failed["Step"] == "testSecret"
        ):
            return  # nothing but a test was asked for
        rest = [event for event in self.events if event["ClientRequestToken"] != token]
        self.events = deque([*self.events_of(secret, token), *rest])

    def _call(self, event: Mapping[str, str]) -> Exception | None:
        try:
            self._functions[event["SecretId"]](dict(event))
        except Exception as error:  # noqa: BLE001 - a function of somebody else's, as in Lambda
            return error
        return None

    def _settle(self, event: Event, *, is_last: bool = False) -> None:
        """At the end look at the labels, as Secrets Manager does."""
        secret, token = event["SecretId"], event["ClientRequestToken"]
        if any(waiting["ClientRequestToken"] == token for waiting in self.events):
            return
        if event["Step"] == "testSecret":
            self._drop_pending(secret, token)
        elif event["Step"] == "finishSecret":
            holders = {stage: version for version, stages in self._labels(secret).items() for stage in stages}
            if holders.get("AWSPENDING") not in (None, holders.get("AWSCURRENT")):
                raise InvocationFailed(event["Step"], token, "AWSPENDING was left apart from AWSCURRENT")

    def _drop_pending(self, secret: str, token: str) -> None:
        document = {"SecretId": secret, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token}
        self._stand_in.control("POST", "/", "UpdateSecretVersionStage", document)

    def _labels(self, secret: str) -> dict[str, list[str]]:
        found: dict[str, Any] = self._stand_in.control("POST", "/", "DescribeSecret", {"SecretId": secret})
        labels: dict[str, list[str]] = found["VersionIdsToStages"]
        return labels


def _one_try() -> Any:
    from botocore.config import Config

    return Config(retries={"total_max_attempts": 1})
