"""The services of compose.yaml, each in a sandbox of its own, with the commands and variables of the file."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from containers.compose import ComposeFile, Image
from containers.sandbox import Container, Running, run, start
from tegata_credentials.testing import free_port
from tegata_credentials.testing.outputs import keep, remember

from .postgres import SocketPostgres
from .waiting import until, until_reached

COMPOSE = Path(__file__).parents[1] / "compose.yaml"
NGINX_CONF = "./compose/nginx.conf"
SERVERS = ("tegata-1", "tegata-2")
NGINX = Image(["/usr/sbin/nginx"], [], {"PATH": "/usr/sbin:/usr/bin:/bin"}, "101:101", {})


class Installation:
    """In a container network each has an address of its own; here all share loopback, and each gets its own port."""

    def __init__(self, image: Image, secrets: Path, postgres: SocketPostgres, directory: Path) -> None:
        self.image, self.secrets, self.postgres, self.directory = image, secrets, postgres, directory
        self.ports = {name: free_port() for name in (*SERVERS, "nginx", "nginx-health")}
        self.url = f"https://localhost:{self.ports['nginx']}"
        variables = {"NGINX_ADDRESS": "127.0.0.1", "TEGATA_BASE_URL": self.url}
        self.file = ComposeFile(COMPOSE, variables)
        self.running: dict[str, Running] = {}
        self._numbers = itertools.count(1)
        for name in ("master_key", "postgres_password"):
            remember((secrets / name).read_text())
        for line in (secrets / "logins").read_text().splitlines():
            remember(line.partition("=")[2])

    def container(self, name: str, command: Sequence[str] | None = None, **variables: str) -> Container:
        """Return what the file says of a service, with addresses that exist here; `variables` are laid over."""
        if name in SERVERS:
            variables = {"TEGATA_HOST": "127.0.0.1", "TEGATA_PORT": str(self.ports[name])} | variables
        volumes = {"socket": self.postgres.socket, NGINX_CONF: self._nginx_conf()}
        image = NGINX if name == "nginx" else self.image
        if name == "nginx" and command is None:
            command = self.file.services[name]["command"][1:]
        return self.file.container(name, image, volumes, command=command, environment=variables, secrets=self.secrets)

    def start(self, name: str, command: Sequence[str] | None = None, **variables: str) -> Running:
        """Start a service; it is ended with the installation."""
        container = self.container(name, command, **variables)
        root = {} if name == "nginx" else self.image.root
        self.running[name] = start(container, root, self._log(name))
        return self.running[name]

    def run(self, name: str, command: Sequence[str] | None = None, **variables: str) -> Running:
        """Start a service and wait for its end."""
        container = self.container(name, command, **variables)
        return until_reached(lambda: run(container, self.image.root, self._log(name)))

    def is_healthy(self, name: str) -> bool:
        """Ask as the file's health check does."""
        command = self.file.health(name, self.image)
        assert command is not None
        if name == "nginx":
            address = f"http://127.0.0.1:{self.ports['nginx-health']}/"
            command = [address if word.startswith("http") else word for word in command]
            asking = Container(command, NGINX.environment)
            return run(asking, {}, self._log(f"{name}-health")).status == 0
        container = self.container(name)
        asking = Container(command, container.environment, user=container.user)
        return run(asking, self.image.root, self._log(f"{name}-health")).status == 0

    def until_well(self, name: str) -> None:
        """Wait for a service to be healthy; to ask costs more than to read its log, so a server is asked from then."""
        if name in SERVERS:
            self.until(lambda: '"event": "serving"' in self.running[name].log, name)
        self.until(lambda: self.is_healthy(name), name)

    def until(self, is_so: Callable[[], bool], name: str) -> None:
        """Wait for something of a service that runs."""
        until(is_so, self.running[name])

    def stop(self) -> None:
        """End every service."""
        for running in self.running.values():
            running.kill()
        for log in self.directory.glob("*.log"):
            keep(log)

    def _log(self, name: str) -> Path:
        return self.directory / f"{next(self._numbers)}-{name}.log"

    def _nginx_conf(self) -> Path:
        text = (COMPOSE.parent / NGINX_CONF).read_text()
        for there, here in self.places().items():
            assert there in text, there
            text = text.replace(there, here)
        path = self.directory / "nginx.conf"
        path.write_text(text)
        return path

    def places(self) -> Mapping[str, str]:
        """Return the addresses of nginx's configuration, and what stands in for them here."""
        return {
            "listen 8443 ssl": f"listen 127.0.0.1:{self.ports['nginx']} ssl",
            "127.0.0.1:8081": f"127.0.0.1:{self.ports['nginx-health']}",
            **{f"{name}:8080": f"127.0.0.1:{self.ports[name]}" for name in SERVERS},
        }
