"""The chain of Plan B on this machine, of real parts, for tests and for a person to click through.

    from tegata_credentials.testing.secrets_manager import StandIn   # moto's server in a process of its own
    from chain import run_chain

    with StandIn(region="eu-west-1") as moto, run_chain(moto, directory) as chain:
        chain.pool.add_user("ann", "Passw0rd!x", groups=["admin"])
        chain.front.url                      # where a browser goes: logs in, adds and removes headers as an ALB does
        chain.nginx.url                      # behind it, Debian's nginx with the generated configuration
        chain.names.addresses = ["127.0.0.2"]  # moves the back: the application also runs there
        chain.nginx.directory                # access.log, error.log, nginx.conf

`run_chain(…, unauthenticated="log in")` sends a browser without a session to a page for name and password, as the
pool's hosted page would be; the default answers 401. `login_page=` is a function that builds another page
(`sessions.build_page` is the one there is). `front_port=8080` fixes the port; otherwise all ports are free ones.
Every part can be had alone: `Pool`, `FrontLoadBalancer`, `Nginx`, `Names`, `Documents`, `Back`. All listen on loopback
and end with their `with` block. `directory` must be one that the user nobody can reach (a new one of `tempfile`):
started by root, nginx runs as nobody. The folder of `chain/` must be on `sys.path`.

It needs what the repository's tests need: moto, boto3, dnslib, uvicorn and nginx.
"""

from __future__ import annotations

from chain.application import serve_application, serve_in_thread
from chain.back import Back
from chain.documents import Documents
from chain.front import FrontLoadBalancer
from chain.names import Names
from chain.nginx import FRONT, Nginx, configure, find_nginx
from chain.plan_b import STRANGER, Chain, run_chain
from chain.pool import LoggedIn, Pool
from chain.waiting import UNUSED, answers, free_port, wait_until

__all__ = [
    "FRONT",
    "STRANGER",
    "UNUSED",
    "Back",
    "Chain",
    "Documents",
    "FrontLoadBalancer",
    "LoggedIn",
    "Names",
    "Nginx",
    "Pool",
    "answers",
    "configure",
    "find_nginx",
    "free_port",
    "run_chain",
    "serve_application",
    "serve_in_thread",
    "wait_until",
]
