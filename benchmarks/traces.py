"""`python -m benchmarks.traces`: what traces cost the server, in CPU for each operation, beside a server without them.

Three servers on one core, each with a PostgreSQL of its own: without traces, with a twentieth of them, with all. They
are measured in turns, and of each the turn with the least CPU counts. The CPU is that of the whole process, the thread
that exports included; the collector is a process of its own, which answers and keeps nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.load import Connection, build_request, run
from benchmarks.server import Running, running
from benchmarks.workloads import WORKLOADS, Bench, Workload

_CHOSEN = (
    "client_credentials ES256",
    "introspect opaque",
    "refresh ES256",
    "code flow, live session, ES256",
    "discovery",
)
_WAYS = {
    "off": {},
    "5 %": {"TEGATA_TRACES": "otlp", "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.05"},
    "all": {"TEGATA_TRACES": "otlp"},
}


class _Collector(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


def _collect() -> int:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Collector) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
    return 0


@contextmanager
def _collector() -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.traces", "--collect"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


async def _microseconds(workload: Workload, server: Running, *, connections: int, seconds: float) -> float:
    bench = Bench(server.port, server.secret, server.password)
    make = await workload.prepare(bench, Connection(server.port))
    before = server.cpu_seconds()
    outcome = await run(server.port, make, connections=connections, seconds=seconds)
    if outcome.errors:
        raise RuntimeError(f"{workload.name}: {outcome.errors} errors")
    return 1e6 * (server.cpu_seconds() - before) / outcome.operations


async def _spans(server: Running) -> dict[str, float]:
    reply = await Connection(server.port).send(build_request("GET", "/metrics", server.port))
    found = re.findall(rb'^tegata_trace_spans_total\{outcome="(\w+)",.*\} (\S+)$', reply.body, re.M)
    return {name.decode(): float(value) for name, value in found}


def main() -> int:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traces", description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each turn")
    parser.add_argument("--turns", type=int, default=3, help="turns of each workload")
    parser.add_argument("--connections", type=int, default=8, help="keep-alive connections")
    parser.add_argument("--collect", action="store_true", help="be the collector")
    arguments = parser.parse_args()
    if arguments.collect:
        return _collect()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    print(
        f"Python {platform.python_version()}, {platform.machine()}, {arguments.turns} turns of {arguments.seconds:g} s"
    )
    with ExitStack() as stack:
        endpoint = stack.enter_context(_collector())
        servers = {}
        for name, settings in _WAYS.items():
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="tegata-bench-"))
            more = {**settings, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "TEGATA_METRICS_NETWORKS": "127.0.0.1"}
            servers[name] = stack.enter_context(running(Path(home), core=cores[0], more=more))
        _measure(servers, arguments)
        print(f"\nspans of {', '.join(f'{name}: {asyncio.run(_spans(server))}' for name, server in servers.items())}")
        print(f"MB: {', '.join(f'{name} {server.memory_megabytes():.0f}' for name, server in servers.items())}")
    return 0


def _measure(servers: dict[str, Running], arguments: argparse.Namespace) -> None:
    names = list(servers)
    print(f"| {'CPU us/op':32} | " + " | ".join(f"{name:>5}" for name in names) + " | ratio 5 % | ratio all |")
    print("|---|" + "---:|" * (len(names) + 2))
    for workload in (workload for workload in WORKLOADS if workload.name in _CHOSEN):
        least = dict.fromkeys(names, float("inf"))
        for _ in range(arguments.turns):
            for name, server in servers.items():
                turn = _microseconds(workload, server, connections=arguments.connections, seconds=arguments.seconds)
                least[name] = min(least[name], asyncio.run(turn))
        off = least["off"]
        row = " | ".join(f"{least[name]:5.0f}" for name in names)
        print(f"| {workload.name:32} | {row} | {least['5 %'] / off:9.2f} | {least['all'] / off:9.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
