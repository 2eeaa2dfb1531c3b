"""Whether a gateway can listen where its file says, asked before anything relies on it."""

from __future__ import annotations

import errno
import os
import socket

from atoll.drivers.host.proc import listener
from atoll.model.system import Gateway
from atoll.values.printable import printable


def why_closed(gateway: Gateway) -> str:
    """Why nobody can listen there, in the words of the system, and who does if that is seen; empty where one can."""
    try:
        with socket.create_server((gateway.host, gateway.listen)):
            return ""
    except OSError as error:
        # Python adds the address to the words of the system.
        why = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)
        return why + _by_whom(gateway) if error.errno == errno.EADDRINUSE else why


def _by_whom(gateway: Gateway) -> str:
    found = listener(gateway.host, gateway.listen)
    return f" by process {found[0]} ({printable(found[1])})" if found else ""
