"""Where CloudFormation looks for the answer to a custom resource: a presigned address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local_aws.serving import Quiet, serving

SIGNATURE = "c2lnbmF0dXJl-that-nobody-else-may-see"


class Answers:
    """Takes answers; `faults` says how the next ones go wrong: a status, or 0 for no answer at all."""

    def __init__(self) -> None:
        self.url = ""
        self.taken: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.sizes: list[int] = []
        self.faults: list[int] = []

    @contextmanager
    def serve(self) -> Iterator[Answers]:
        """Take answers until the end of the block."""
        answers = self

        class Handler(Quiet):
            def do_PUT(self) -> None:
                body = self.read()
                fault = answers.faults.pop(0) if answers.faults else None
                if fault is None or fault == 0:
                    answers.taken.append(json.loads(body))
                    answers.sizes.append(len(body))
                    answers.content_types.append(self.headers.get("Content-Type"))
                if fault == 0:
                    self.hang_up()
                else:
                    self.answer(fault or 200)

        with serving(Handler) as url:
            self.url = f"{url}/arn%3Aaws%3Acloudformation/answer?X-Amz-Signature={SIGNATURE}"
            yield self
