"""
The addresses of the fabric, as arithmetic: link *n* is the n-th /30 of 10.201.0.0/16.

In each /30 the first host address is the fabric's end of the link, the second one is the instance's. Beside them, the
sockets at which the proxies and the comparer meet.
"""

from __future__ import annotations

PREFIX_LENGTH = 30
LAST_NETWORK = 16382
COMPARING = "compare"
"""The directory, in a system's run directory, of the two sockets between the proxies and the comparer."""
COPIES = "copies.sock"
"""There the comparer takes copies of requests."""
SHADOW_CALLS = "shadow.sock"
"""There the mesh takes the comparer's calls."""


def fabric_address(network: int) -> str:
    """The fabric's end of a link, for example 10.201.0.5 for link 1."""
    return _address(network, 1)


def instance_address(network: int) -> str:
    """The instance's end of a link, for example 10.201.0.6 for link 1."""
    return _address(network, 2)


def _address(network: int, host: int) -> str:
    if not 1 <= network <= LAST_NETWORK:
        raise ValueError(f"there is no link {network}: they are numbered 1 to {LAST_NETWORK}")
    offset = network * 4 + host
    return f"10.201.{offset >> 8}.{offset & 255}"
