"""Whether a gateway can listen where its file says, asked before anything relies on it."""

from __future__ import annotations

import os
import socket

from atoll.model.system import Gateway


def why_closed(gateway: Gateway) -> str:
    """Why nobody can listen there, in the words of the system; empty where one can."""
    try:
        with socket.create_server((gateway.host, gateway.listen)):
            return ""
    except OSError as error:
        # Python adds the address to the words of the system.
        return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)
