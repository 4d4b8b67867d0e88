"""`python -m benchmarks`: run the workloads one after the other and print the table.

The server has core 0, PostgreSQL and the load share the others; the figure to compare is operations for each second of
CPU that the server used. It moves by 10 to 25 % between runs on a shared machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks.load import Connection, run
from benchmarks.server import Running, running
from benchmarks.workloads import WORKLOADS, Bench, Workload


async def _measure(workload: Workload, server: Running, *, connections: int, seconds: float) -> str:
    bench = Bench(server.port, server.secret, server.password)
    make = await workload.prepare(bench, Connection(server.port))
    await run(server.port, make, connections=connections, seconds=min(0.5, seconds))
    cpu, database = server.cpu_seconds(), server.database_cpu_seconds()
    outcome = await run(server.port, make, connections=connections, seconds=seconds)
    cpu, database = server.cpu_seconds() - cpu, server.database_cpu_seconds() - database
    rate = outcome.operations / cpu if cpu else 0.0
    return (
        f"| {workload.name:32} | {rate:7,.0f} | {workload.target:6,} | {rate / workload.target:5.2f} "
        f"| {outcome.operations / outcome.seconds:7,.0f} | {1e6 * database / max(outcome.operations, 1):6.0f} "
        f"| {outcome.percentile(0.5):6.1f} | {outcome.percentile(0.99):6.1f} "
        f"| {server.memory_megabytes():4.0f} | {outcome.errors:3} |"
    )


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each workload")
    parser.add_argument("--connections", type=int, default=16, help="keep-alive connections")
    parser.add_argument("--only", default="", help="run workloads whose name contains this")
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[1:]))  # inherited by PostgreSQL
    chosen = [workload for workload in WORKLOADS if arguments.only in workload.name]
    with tempfile.TemporaryDirectory(prefix="tegata-bench-") as home, running(Path(home), core=cores[0]) as server:
        print(f"Python {platform.python_version()}, {platform.machine()}, {len(cores)} cores, ", end="")
        print(f"{arguments.connections} connections, {arguments.seconds:g} s each, ", end="")
        print(f"idle {server.memory_megabytes():.0f} MB")
        print(f"| {'workload':32} | op/cpu-s | target | ratio | op/s | DB us/op | p50 ms | p99 ms | MB | err |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
        failed = False
        for workload in chosen:
            line = asyncio.run(_measure(workload, server, connections=arguments.connections, seconds=arguments.seconds))
            print(line, flush=True)
            failed = failed or not line.rstrip(" |").endswith(" 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
