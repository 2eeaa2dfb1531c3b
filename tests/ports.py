"""Ports for what a test starts."""

from __future__ import annotations

import itertools
import os
import socket
from contextlib import suppress

FIRST, EACH = 10_000, 2_000
"""Below what the kernel gives to clients, and what Atoll gives to plain processes; so many for each worker."""
WORKERS = 5
_turn = itertools.count(os.getpid())


def free_port() -> int:
    """
    A port of 127.0.0.1 that is free, and that nobody else is given before this one is listened on.

    One that the kernel chooses is free again once it is known, and may be given to another test, or to the client's
    end of some connection: then somebody else answers there, who is alive and well.
    """
    block = FIRST + int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % WORKERS * EACH
    for turn in itertools.islice(_turn, EACH):
        port = block + turn % EACH
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError(f"no port is free from {block} on")
