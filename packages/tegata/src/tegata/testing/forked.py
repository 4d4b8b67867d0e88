"""Processes of tests that are forked from one that has read the modules: to read them takes longer than their work."""

from __future__ import annotations

import multiprocessing

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tegata.postgres.migrate", "tegata.testing.tenant_acts"])
