"""A process that ends while a thread of the service says something ends as it would have without."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

# What is said is written slowly, to a stream whose lock the interpreter takes when it ends. The end has more patience
# than usual: on a busy machine a fifth of a second may take longer than a second.
PROGRAM = """
import contextlib, io, logging, sys, threading, time
from tegata_credentials import telling
from tegata_credentials.{module} import *

telling.PATIENCE_SECONDS = 50
logging.getLogger("tegata_credentials").addHandler(logging.NullHandler())
begun = threading.Event()
written = []

class Slow(io.RawIOBase):
    def writable(self):
        return True

    def write(self, data):
        begun.set()
        time.sleep(0.2)
        written.append(bytes(data))
        return len(data)

sys.stdout = io.TextIOWrapper(io.BufferedWriter(Slow()), write_through=True)

def say(text):
    sys.stdout.write(text)
    sys.stdout.flush()

{what}
assert begun.wait(50)
"""
THREADS = {
    "a fetch": (
        "secret_service",
        """
        class Source(SecretsInMemory):
            def fetch(self, secret, **options):
                raise ValueError

        class Observer:
            def metric(self, *_, **__):
                say("metric")

            def audit(self, *_, **__):
                say("audit")

        try:
            SecretService(Source({}), observer=Observer()).get_version("mail")
        except Exception as error:
            assert "ValueError" in str(error), error
        """,
    ),
    "a change": (
        "secret_service",
        """
        source = SecretsInMemory({"mail": {"password": "one"}})
        service = SecretService(source)
        service.on_change(lambda *_: [say("changed") for _ in range(2)])
        service.get_version("mail")
        source.put("mail", {"password": "two"})
        service.invalidate("mail")
        service.get_version("mail")
        """,
    ),
    "a token": (
        "sync_tokens",
        """
        # Not in a handler: logging waits for those itself.
        logging.getLogger("tegata_credentials.tokens").addFilter(lambda record: say(record.getMessage()))

        class Provider:
            def discard(self):
                pass

            def fetch(self):
                raise TimeoutError

        source = SyncTokenSource(Provider(), auth_method="none")

        def use():
            with contextlib.suppress(Exception):
                source.current()

        threading.Thread(target=use, daemon=True).start()
        """,
    ),
}


@pytest.mark.parametrize("thread", THREADS)
def test_an_end_in_the_middle_of_what_a_thread_says_is_no_abort(thread: str):
    module, what = THREADS[thread]
    program = PROGRAM.format(module=module, what=textwrap.dedent(what))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_begins_to_speak_after_the_end_says_nothing_and_a_forked_child_speaks():
    program = """
    import os
    from tegata_credentials.telling import tell

    def late():
        tell(lambda: print("late"))
        if os.fork() == 0:
            tell(lambda: print("child"))
            os._exit(0 if not print(end="", flush=True) else 1)
        os.wait()

    """
    # Handlers run in the reverse of the order in which they were registered: `late` comes after that of the package.
    program = "import atexit\natexit.register(lambda: late())\n" + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\n", "")
