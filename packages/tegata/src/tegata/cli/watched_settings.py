"""Says when a setting that was read through a reference has changed where it is kept.

Such a setting is read once, when the process starts: a master key that changed in a running process could open nothing
that the old one has sealed, and one worker would have it before the others. So nothing changes by itself; the log says
that a restart is due. Logins are different: theirs are asked for at each new session (`TEGATA_DATABASE_AUTH=secret`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from tegata.postgres.secret_logins import ProcessSecrets
from tegata.settings import PREFIX, Settings, is_secret
from tegata_credentials.errors import SecretError

if TYPE_CHECKING:
    from tegata_credentials.secret_service.service import SecretService

_PAUSE_SECONDS = 60.0
_log = structlog.get_logger("tegata.settings")


@asynccontextmanager
async def watching(settings: Settings, secrets: ProcessSecrets) -> AsyncIterator[None]:
    """Look after the references among the settings, if there are any, while the block runs."""
    watched = references_of(settings)
    if not watched:
        yield
        return
    for name, reference in watched.items():
        # They were read before there was a log to say so.
        _log.info("secret.read", setting=PREFIX + name.upper(), reference=reference)
    watch = Watch(settings, secrets.hold(watched))
    task = asyncio.create_task(_look_again_and_again(watch))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        secrets.let_go(watched)


def references_of(settings: Settings) -> dict[str, str]:
    """Return the references of settings that were read through one, by field."""
    fields = [name for name, field in type(settings).model_fields.items() if is_secret(field)]
    return {name: reference for name in fields if (reference := settings.reference_of(name)) is not None}


class Watch:
    """Compares what is kept with what was read at the start; tells each change once."""

    def __init__(self, settings: Settings, service: SecretService) -> None:
        self._service = service
        self._references = references_of(settings)
        self._known: dict[str, SecretStr] = {name: getattr(settings, name) for name in self._references}

    async def look(self) -> None:
        """Look once. The service asks the store when it finds it time; what it cannot read it logs itself."""
        for name, reference in self._references.items():
            with suppress(SecretError):
                found = SecretStr((await self._service.aget_version(reference)).text.strip())
                if found != self._known[name]:
                    self._known[name] = found
                    _log.warning(
                        "setting_changed",
                        setting=PREFIX + name.upper(),
                        reference=reference,
                        cure="restart the server, so that every process has it",
                    )


async def _look_again_and_again(watch: Watch) -> None:
    while True:
        await asyncio.sleep(_PAUSE_SECONDS)
        await watch.look()
