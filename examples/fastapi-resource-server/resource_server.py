"""An API of brewing experiments that accepts access tokens of one Tegata tenant.

Reading needs the scope `read`. Writing needs the scope `write` **and** a role that may write; administration needs
scope and role `admin`. The data lives in memory and is bounded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tegata_verify import Principal, Tegata, Verifier
from tegata_verify.fastapi import build_responses, install, requires

MAX_EXPERIMENTS = 1000
MAX_EVALUATIONS = 50
MAX_BODY_BYTES = 64 * 1024

# The roles are researcher, developer, evaluator, viewer and admin; who is not named here may only read.
WRITERS = ("researcher", "developer", "admin")
EVALUATORS = ("evaluator", "admin")

AnyCaller = Annotated[Principal, Depends(requires())]
Reader = Annotated[Principal, Depends(requires(scope="read"))]
Writer = Annotated[Principal, Depends(requires(scope="write", role=WRITERS))]
Evaluator = Annotated[Principal, Depends(requires(scope="write", role=EVALUATORS))]
Administrator = Annotated[Principal, Depends(requires(scope="admin", role="admin"))]

Title = Annotated[str, Field(min_length=1, max_length=200)]
Status = Literal["planned", "fermenting", "done"]
Notes = Annotated[str, Field(max_length=2000)]
ExperimentId = Annotated[int, Path(ge=1, le=2**53)]


class Fields(BaseModel):
    """What a caller says about an experiment."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    status: Status = "planned"
    notes: Notes = ""


class Changes(BaseModel):
    """The members to change; what is absent stays as it is. RFC 7396."""

    model_config = ConfigDict(extra="forbid")

    # A default is never used as a value: only members that were sent are applied.
    title: Title = "-"
    status: Status = "planned"
    notes: Notes = ""


class Experiment(Fields):
    """An experiment as the API shows it."""

    id: int
    created_by: str


class Evaluation(BaseModel):
    """A taster's judgement."""

    model_config = ConfigDict(extra="forbid")

    score: Annotated[int, Field(ge=1, le=10)]
    comment: Notes = ""


class Caller(BaseModel):
    """The caller, as its token says."""

    issuer: str
    tenant: str | None
    subject: str
    client_id: str | None
    is_service: bool
    scopes: list[str]
    roles: list[str]


class Removed(BaseModel):
    """How many experiments went."""

    removed: int


@dataclass
class Laboratory:
    """All experiments of one application, at most `MAX_EXPERIMENTS`."""

    experiments: dict[int, Experiment] = field(default_factory=dict)
    evaluations: dict[int, list[Evaluation]] = field(default_factory=dict)
    last_id: int = 0

    def add(self, fields: Fields, created_by: str) -> Experiment:
        if len(self.experiments) >= MAX_EXPERIMENTS:
            raise HTTPException(409, "The laboratory is full")
        self.last_id += 1
        return self.put(Experiment(id=self.last_id, created_by=created_by, **fields.model_dump()))

    def get(self, experiment_id: int) -> Experiment:
        try:
            return self.experiments[experiment_id]
        except KeyError:
            raise HTTPException(404, "There is no such experiment") from None

    def put(self, experiment: Experiment) -> Experiment:
        self.experiments[experiment.id] = experiment
        return experiment

    def remove(self, experiment_id: int) -> None:
        self.get(experiment_id)
        del self.experiments[experiment_id]
        self.evaluations.pop(experiment_id, None)

    def evaluate(self, experiment_id: int, evaluation: Evaluation) -> None:
        self.get(experiment_id)
        evaluations = self.evaluations.setdefault(experiment_id, [])
        if len(evaluations) >= MAX_EVALUATIONS:
            raise HTTPException(409, "This experiment has all the evaluations it can hold")
        evaluations.append(evaluation)

    def clear(self) -> int:
        removed = len(self.experiments)
        self.experiments.clear()
        self.evaluations.clear()
        return removed


def build_router(laboratory: Laboratory) -> APIRouter:
    """Build the endpoints; each one's parameters say who may call it."""
    router = APIRouter()
    missing: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such experiment"}}
    full: dict[int | str, dict[str, Any]] = {409: {"description": "There is no room for more"}}

    @router.get("/whoami")
    async def whoami(caller: AnyCaller) -> Caller:
        return Caller(
            issuer=caller.issuer,
            tenant=caller.tenant,
            subject=caller.subject,
            client_id=caller.client_id,
            is_service=caller.is_service,
            scopes=sorted(caller.scopes),
            roles=sorted(caller.roles),
        )

    @router.get("/experiments")
    async def list_experiments(
        _: Reader, limit: Annotated[int, Query(ge=1, le=100)] = 50, after: Annotated[int, Query(ge=0, le=2**53)] = 0
    ) -> list[Experiment]:
        return [found for found in laboratory.experiments.values() if found.id > after][:limit]

    @router.post("/experiments", status_code=201, responses=full)
    async def create_experiment(caller: Writer, fields: Fields, request: Request, response: Response) -> Experiment:
        created = laboratory.add(fields, caller.subject)
        response.headers["Location"] = str(request.url_for("read_experiment", experiment_id=created.id))
        return created

    @router.get("/experiments/{experiment_id}", responses=missing)
    async def read_experiment(_: Reader, experiment_id: ExperimentId) -> Experiment:
        return laboratory.get(experiment_id)

    @router.put("/experiments/{experiment_id}", responses=missing)
    async def replace_experiment(_: Writer, experiment_id: ExperimentId, fields: Fields) -> Experiment:
        return laboratory.put(laboratory.get(experiment_id).model_copy(update=fields.model_dump()))

    @router.patch("/experiments/{experiment_id}", responses=missing)
    async def change_experiment(_: Writer, experiment_id: ExperimentId, changes: Changes) -> Experiment:
        return laboratory.put(laboratory.get(experiment_id).model_copy(update=changes.model_dump(exclude_unset=True)))

    @router.delete("/experiments/{experiment_id}", status_code=204, responses=missing)
    async def delete_experiment(_: Writer, experiment_id: ExperimentId) -> None:
        laboratory.remove(experiment_id)

    @router.get("/experiments/{experiment_id}/evaluations", responses=missing)
    async def list_evaluations(_: Reader, experiment_id: ExperimentId) -> list[Evaluation]:
        laboratory.get(experiment_id)
        return laboratory.evaluations.get(experiment_id, [])

    @router.post("/experiments/{experiment_id}/evaluations", status_code=201, responses={**missing, **full})
    async def add_evaluation(_: Evaluator, experiment_id: ExperimentId, evaluation: Evaluation) -> Evaluation:
        laboratory.evaluate(experiment_id, evaluation)
        return evaluation

    @router.delete("/admin/experiments")
    async def delete_all_experiments(_: Administrator) -> Removed:
        return Removed(removed=laboratory.clear())

    return router


def create_app(issuer: str, audiences: Sequence[str], *, verifier: Verifier | None = None) -> FastAPI:
    """Build the application: it accepts tokens of `issuer` that are meant for one of `audiences`.

    It needs no start-up and no shutdown, so it can be mounted in another application. `verifier` replaces the one
    made from the other arguments, for tests.
    """
    app = FastAPI(title="Brewing experiments", responses={**build_responses(), 413: {"description": "Too large"}})
    # Plain http stays impossible for any address but this machine's own.
    install(app, verifier or Verifier(Tegata(issuer, audiences, allow_loopback_http=True)), realm="experiments")
    app.add_exception_handler(RequestValidationError, answer_invalid)
    app.add_middleware(BodyLimit)
    app.include_router(build_router(Laboratory()))
    return app


def create_app_from_environment(environment: Mapping[str, str] = os.environ) -> FastAPI:
    """Build the application for `uvicorn --factory`: `ISSUER`, and `AUDIENCE` with one or more names."""
    return create_app(environment["ISSUER"], environment["AUDIENCE"].replace(",", " ").split())


async def answer_invalid(_: Request, error: Exception) -> JSONResponse:
    """Answer 422 without repeating the input, which may hold what cannot be encoded."""
    assert isinstance(error, RequestValidationError)
    kept = ("type", "loc", "msg")
    return JSONResponse({"detail": [{name: found[name] for name in kept} for found in error.errors()]}, 422)


class BodyLimit:
    """Refuses large bodies: FastAPI reads the whole body before it asks who sent it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                raise HTTPException(413, "The body is too large")
            return message

        await self.app(scope, receive_some, send)
