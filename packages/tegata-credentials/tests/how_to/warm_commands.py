"""Commands of bash scripts that need not start Python anew: most of what AWS's CLI does is to import itself.

One process for each command has imported it. What stands in its place on the path hands over its words, variables,
directory and descriptors; the process forks, and the child runs the command's own `main` with them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_ASKING = """#!{python} -IS
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asked.connect({address!r})
said = json.dumps([[{name!r}, *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(asked, [said], [0, 1, 2])
sys.exit(int(asked.recv(16) or b"1"))
"""
_WAITING = """
import importlib, json, os, select, socket, sys
address, module, *more = sys.argv[1:]
before = dict(os.environ)
main = importlib.import_module(module).main
for each in more:
    importlib.import_module(each)
own = {name: value for name, value in os.environ.items() if before.get(name) != value}  # AWS's CLI finds its data so

def become(asking):
    said, descriptors, _, _ = socket.recv_fds(asking, 1 << 17, 3)
    words, directory, variables = json.loads(said)
    for number, given in enumerate(descriptors):
        os.dup2(given, number)
        os.close(given)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(variables | own)
    sys.argv = words
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    asking.send(str(int(status or 0)).encode())
    os._exit(0)

waiting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
waiting.bind(address)
waiting.listen()
running = []
print("ready", flush=True)
while True:
    ready, _, _ = select.select([waiting, sys.stdin], [], [])
    running = [child for child in running if os.waitpid(child, os.WNOHANG)[0] == 0]
    if sys.stdin in ready:
        sys.exit(any(os.waitpid(child, 0)[1] for child in running))
    asking, _ = waiting.accept()
    child = os.fork()
    if child == 0:
        waiting.close()
        become(asking)
    running.append(child)
    asking.close()
"""


@contextmanager
def warm_command(name: str, python: Path, modules: Sequence[str], directory: Path) -> Iterator[None]:
    """Put the command into this directory. `modules`: first the one whose `main` it is, then others that it needs."""
    address = directory / f"{name}.socket"
    process = subprocess.Popen(
        [str(python), "-c", _WAITING, str(address), *modules],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"LANG": "C.UTF-8"},
        cwd=directory,
    )
    with process:  # which ends with its standard input
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        asking = directory / name
        asking.write_text(_ASKING.format(python=python, address=str(address), name=name))
        asking.chmod(0o755)
        yield
