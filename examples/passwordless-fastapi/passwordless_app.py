"""A FastAPI application that keeps notes in PostgreSQL and, in the cloud, holds no password.

Copy this file. How it logs in is decided by the environment alone: a password on your own machine, a managed identity
on Azure, an IAM token on AWS.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolExhausted
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tegata_credentials.errors import CredentialError
from tegata_credentials.health import DatabaseHealth, probe_engine
from tegata_credentials.settings import DatabaseSettings

ADD = text("insert into notes (text) values (:text) returning id, text")
LIST = text("select id, text from notes where id > :after order by id limit :limit")
WHO = text("select current_user::text")


class NewNote(BaseModel):
    """What a caller writes."""

    model_config = ConfigDict(extra="forbid")

    # PostgreSQL keeps no NUL in a text.
    text: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^\x00]*$")]


class Note(BaseModel):
    """A note as it is kept."""

    id: int
    text: str


class Login(BaseModel):
    """Who this application is to the database."""

    role: str
    auth_method: str


async def connection(request: Request) -> AsyncIterator[AsyncConnection]:
    """Give one request one transaction: kept if the endpoint returns, undone if it raises."""
    engine: AsyncEngine = request.app.state.engine
    async with engine.begin() as connected:
        yield connected


# With this scope the transaction ends before the answer is sent: who reads 201 finds the note.
Database = Annotated[AsyncConnection, Depends(connection, scope="function")]


def create_app(settings: DatabaseSettings) -> FastAPI:
    """Build the application. Nothing is connected to before it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with settings.open_async_engine() as engine:
            app.state.engine = engine
            app.state.health = DatabaseHealth(probe_engine(engine), auth_method=settings.auth)
            yield

    app = FastAPI(title="Notes without a password", lifespan=lifespan)
    app.add_exception_handler(RequestValidationError, answer_invalid)
    for unreachable in (CredentialError, OSError, PoolExhausted):
        app.add_exception_handler(unreachable, answer_later)

    @app.get("/health/db")
    async def database_health(request: Request) -> JSONResponse:
        status, body = await request.app.state.health.check()
        return JSONResponse(body, status, headers={"Cache-Control": "no-store"})

    @app.get("/login")
    async def show_login(database: Database) -> Login:
        return Login(role=await database.scalar(WHO), auth_method=settings.auth)

    @app.get("/notes")
    async def list_notes(
        database: Database,
        after: Annotated[int, Query(ge=0, le=2**53)] = 0,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
    ) -> list[Note]:
        found = await database.execute(LIST, {"after": after, "limit": limit})
        return [Note(id=row.id, text=row.text) for row in found]

    @app.post("/notes", status_code=201)
    async def add_note(database: Database, note: NewNote) -> Note:
        row = (await database.execute(ADD, {"text": note.text})).one()
        return Note(id=row.id, text=row.text)

    return app


async def answer_later(_: Request, __: Exception) -> JSONResponse:
    """Say that the database cannot be reached now, and not why."""
    return JSONResponse({"detail": "The database cannot be reached"}, 503, headers={"Retry-After": "5"})


async def answer_invalid(_: Request, error: Exception) -> JSONResponse:
    """Answer 422 without repeating the input, which may hold what cannot be encoded."""
    assert isinstance(error, RequestValidationError)
    kept = ("type", "loc", "msg")
    return JSONResponse({"detail": [{name: found[name] for name in kept} for found in error.errors()]}, 422)


class JsonLines(logging.Formatter):
    """One JSON object for each line of the log, with the fields that tell of logins to the database."""

    FIELDS = ("auth_method", "username", "host", "expires_at", "reason")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. Of an exception only the kind: its text may say more than a log should keep."""
        line = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line |= {name: vars(record)[name] for name in self.FIELDS if name in vars(record)}
        if record.exc_info and record.exc_info[0]:
            line["exception"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False)


def show_logs() -> None:
    """Write what this application and the kit say to standard error; of the cloud's SDK only warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("azure").setLevel(logging.WARNING)


def create_app_from_environment(environment: Mapping[str, str] = os.environ) -> FastAPI:
    """Build the application for `uvicorn --factory`. Settings that cannot work end the start, and say why."""
    show_logs()
    return create_app(DatabaseSettings.from_environment(environment))
