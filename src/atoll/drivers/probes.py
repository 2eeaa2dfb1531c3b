"""Health checks from inside the fabric: the sockets are made there, the waiting is done here."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from atoll.errors import Unavailable
from atoll.model.system import Check
from atoll.plan.blueprint import Address

_CLONE_NEWNET = 0x40000000
_MOST = 4096


class FabricProber:
    """
    Asks instances how they are, from where the proxies would. Meets `ports.Prober`.

    *netns* is the fabric's namespace, None for plain processes on loopback. *listening* tells what an instance
    listens on, for the sentence that says what is likely wrong.
    """

    def __init__(
        self, netns: str | None, listening: Callable[[Address], tuple[tuple[str, int], ...]] = lambda _: ()
    ) -> None:
        self._listening = listening
        # setns(2) is for the calling thread: one thread lives in the fabric and makes sockets there.
        self._thread = ThreadPoolExecutor(1, "fabric", initializer=_enter, initargs=(netns,) if netns else (None,))

    async def probe(self, address: Address, check: Check) -> str:
        """Empty when it passes, else a sentence."""
        what = f"GET {check.path} on port {address.port}" if check.path else f"a connection to port {address.port}"
        try:
            async with asyncio.timeout(check.timeout):
                return await self._ask(address, check, what)
        except TimeoutError:
            return f"{what} got no answer within {check.timeout:g} s"
        except ConnectionRefusedError:
            return f"{what} was refused: {self._why_refused(address)}"
        except OSError as error:
            return f"{what} failed: {error.strerror or error}"

    async def _ask(self, address: Address, check: Check, what: str) -> str:
        loop = asyncio.get_running_loop()
        connection = await loop.run_in_executor(self._thread, _socket)
        try:
            await loop.sock_connect(connection, (address.ip, address.port))
            if check.path is None:
                return ""
            request = (
                f"GET {check.path} HTTP/1.1\r\nHost: {address.ip}:{address.port}\r\n"
                "User-Agent: atoll-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
            )
            await loop.sock_sendall(connection, request.encode())
            return _verdict(await _status_line(loop, connection), what)
        finally:
            connection.close()

    def _why_refused(self, address: Address) -> str:
        found = self._listening(address)
        here = [ip for ip, port in found if port == address.port]
        if here:
            return f"it listens on {here[0]} only; listen on 0.0.0.0 ($HOST)"
        elsewhere = sorted({port for _, port in found})
        if elsewhere:
            ports = ", ".join(str(port) for port in elsewhere)
            return f"nothing listens there, it listens on {ports}; listen on $PORT"
        return "nothing listens there yet"


def _enter(netns: str | None) -> None:
    if netns is None:
        return
    descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
            raise Unavailable(f"the fabric cannot be entered: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(descriptor)


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


async def _status_line(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n" not in data and len(data) < _MOST:
        more = await loop.sock_recv(connection, _MOST)
        if not more:
            break
        data += more
    return data.partition(b"\r\n")[0]


def _verdict(line: bytes, what: str) -> str:
    fields = line.split(maxsplit=2)
    if not line:
        return f"{what} got an empty answer: it closed the connection"
    if len(fields) < 2 or not fields[0].startswith(b"HTTP/") or not fields[1].isdigit():  # noqa: PLR2004
        return f"{what} got something that is not HTTP: {line[:40]!r}; for other protocols use `health: {{tcp: true}}`"
    status = int(fields[1])
    if 200 <= status < 400:  # noqa: PLR2004 - 2xx and 3xx pass
        return ""
    hint = ": is the path right?" if status == 404 else ""  # noqa: PLR2004
    return f"{what} answered {status}{hint}"
