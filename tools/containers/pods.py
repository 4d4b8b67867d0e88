"""Says what a pod of Kubernetes is started as: the same container that an image or a compose file describes.

Secrets and ConfigMaps are given as mappings, and become files or variables as the pod asks. Only what the project's own
chart uses is known; anything else raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from containers.compose import Image
from containers.sandbox import Container

Values = Mapping[str, Mapping[str, str]]
"""Of Secrets or ConfigMaps: by their name, then by key."""


def container_of(
    pod: Mapping[str, Any],
    image: Image,
    directory: Path,
    *,
    secrets: Values,
    config_maps: Values,
    environment: Mapping[str, str] | None = None,
    mounts: Mapping[str, Path] | None = None,
) -> Container:
    """Return the one container of a pod. Its files are written to `directory`; `environment` and `mounts` are added."""
    (told,) = pod["containers"]
    files = {volume["name"]: _files(volume, secrets, config_maps) for volume in pod["volumes"]}
    found: dict[str, Path] = {}
    memory = []
    for mount in told["volumeMounts"]:
        written = files[mount["name"]]
        if written is None:
            memory.append(mount["mountPath"])
            continue
        place = directory / mount["name"]
        place.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (place / name).write_text(text)
        found[mount["mountPath"]] = place
    security = pod["securityContext"]
    return Container(
        [*told.get("command", image.entrypoint), *told.get("args", image.command)],
        {**image.environment, **_environment(told, config_maps), **(environment or {})},
        user=f"{security['runAsUser']}:{security['runAsGroup']}",
        mounts={**found, **(mounts or {})},
        memory=memory,
    )


def _files(volume: Mapping[str, Any], secrets: Values, config_maps: Values) -> dict[str, str] | None:
    """Return what a volume holds; None if it is empty and can be written."""
    if "emptyDir" in volume:
        return None
    if "configMap" in volume:
        told = volume["configMap"]
        return {item["path"]: config_maps[told["name"]][item["key"]] for item in told["items"]}
    items = [
        (source["secret"], item) for source in volume["projected"]["sources"] for item in source["secret"]["items"]
    ]
    return {item["path"]: secrets[secret["name"]][item["key"]] for secret, item in items}


def _environment(told: Mapping[str, Any], config_maps: Values) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in told.get("envFrom", ()):
        found.update(config_maps[source["configMapRef"]["name"]])
    return found | {variable["name"]: variable["value"] for variable in told.get("env", ())}
