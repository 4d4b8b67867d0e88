"""What a forked process says of what it has inherited."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable


def in_child(call: Callable[[], str]) -> str:
    """Run in a forked child and return what it says; a child that is stuck is ended after a minute."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: that is what is tested
        child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            threading.Timer(60.0, os._exit, [1]).start()
            os.write(writing, call().encode())
        except BaseException as error:  # noqa: BLE001 - said to the parent
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said
