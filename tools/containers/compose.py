"""Reads a compose file and says what each service is started as (Compose Specification).

`${NAME:-default}` is filled in from variables given to it, `<<` is merged, secrets and volumes become mounts. Only what
the project's own file uses is known; anything else raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from containers.dockerfile import Stage
from containers.sandbox import Container

_VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
COMPLETED, HEALTHY = "service_completed_successfully", "service_healthy"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image says of how it is started; the file may say otherwise."""

    entrypoint: Sequence[str]
    command: Sequence[str]
    environment: Mapping[str, str]
    user: str
    root: Mapping[str, Path]
    health: Sequence[str] = ()

    @classmethod
    def of(cls, stage: Stage, root: Mapping[str, Path]) -> Image:
        """Read it from the last stage of a Dockerfile."""
        health = stage.last("HEALTHCHECK").words
        entrypoint, command = stage.last("ENTRYPOINT").words, stage.last("CMD").words
        return cls(entrypoint, command, stage.pairs("ENV"), stage.last("USER").text, root, health)


class ComposeFile:
    """A compose file with its variables filled in; `text` is it as YAML."""

    def __init__(self, path: Path, variables: Mapping[str, str]) -> None:
        self.directory = path.parent
        filled = _VARIABLE.sub(lambda found: variables.get(found[1]) or found[2], path.read_text())
        self.document: dict[str, Any] = yaml.safe_load(filled)
        self.services: dict[str, dict[str, Any]] = self.document["services"]

    def starting_order(self, profiles: Sequence[str] = ()) -> Iterator[str]:
        """Name the services that are started, each after those it waits for."""
        told: set[str] = set()

        def with_needed(name: str) -> Iterator[str]:
            if name not in told:
                told.add(name)
                for needed in self.services[name].get("depends_on", {}):
                    yield from with_needed(needed)
                yield name

        for name, service in self.services.items():
            if set(service.get("profiles", ())) <= set(profiles):
                yield from with_needed(name)

    def health(self, name: str, image: Image) -> Sequence[str] | None:
        """Return the command that says whether a service is well; None where there is none."""
        given = self.services[name].get("healthcheck", {})
        if given.get("disable"):
            return None
        told: list[str] = given.get("test", ["CMD", *image.health])
        kind, *command = told
        if kind != "CMD":
            raise ValueError(f"{name}: a health check by a shell")
        return command

    def container(
        self,
        name: str,
        image: Image,
        volumes: Mapping[str, Path],
        *,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        secrets: Path | None = None,
    ) -> Container:
        """Return what an engine would start. `volumes`: where named ones and files are; `environment` is laid over."""
        service = self.services[name]
        mounts = {f"/run/secrets/{secret}": self._secret(secret, secrets) for secret in service.get("secrets", ())}
        for volume in service.get("volumes", ()):
            source, target, *_ = volume.split(":")
            mounts[target] = volumes[source]
        return Container(
            [*image.entrypoint, *(command or service.get("command") or image.command)],
            {**image.environment, **service.get("environment", {}), **(environment or {})},
            user=service.get("user", image.user),
            mounts=mounts,
            memory=[tmpfs.partition(":")[0] for tmpfs in service.get("tmpfs", ())],
            has_network=service.get("network_mode") != "none",
        )

    def _secret(self, name: str, secrets: Path | None) -> Path:
        file = Path(self.document["secrets"][name]["file"])
        return self.directory / file if secrets is None else secrets / file.name
