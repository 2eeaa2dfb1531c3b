"""
Health checks, asked from where the proxies would ask, and answered with what is likely wrong.

Sockets are made by a thread that lives in the fabric's network namespace; a socket stays in the namespace it was made
in, so everything else happens on the event loop.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from atoll.drivers.host.syscalls import enter_network
from atoll.model.system import Check
from atoll.plan.blueprint import Address

LONGEST_HEAD = 16 * 1024
LONGEST_WORDS = 200
MADE_AT_ONCE = 16
"""Sockets: to wake up the thread that makes them takes as long as a probe itself."""
LOOK_AGAIN = 0.5
"""
Seconds between looks at what an instance listens on that refuses connections, and before the first one: the kernel goes
through all connections of the host for it, and takes 10 ms from a program that is only starting.
"""
FOR_WORDS = 0.1
"""Seconds to wait for the words of a refusal."""
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
_HINTS = {
    400: "does it refuse the Host header `localhost`?",
    401: "let it answer without credentials",
    403: "let it answer without credentials",
    404: "is the path right?",
    405: "it must answer GET",
}


class FabricProber:
    """
    Meets `ports.Prober`.

    Args:
        netns: the path of the network namespace to ask from; None asks from this process's.
        listening: what the instance with an address (ip, port) listens on, None where that is not known.
        every: seconds between looks at that, for each instance.

    """

    def __init__(
        self,
        netns: str | None,
        listening: Callable[[str, int], tuple[tuple[str, int], ...] | None] = lambda _ip, _port: None,
        every: float = LOOK_AGAIN,
    ) -> None:
        self._listening = listening
        self._every = every
        self._refused: dict[Address, tuple[float, str]] = {}
        self._inside = (
            ThreadPoolExecutor(1, "fabric", initializer=enter_network, initargs=(netns,)) if netns is not None else None
        )
        self._made: list[socket.socket] = []
        self._making = asyncio.Lock()

    async def probe(self, address: Address, check: Check) -> str:
        """Empty when it passes, else a sentence: what was asked, what came back, what is likely wrong."""
        try:
            async with asyncio.timeout(check.timeout):
                said = await self._ask(address, check)
        except TimeoutError:
            return f"{_question(address, check)} did not answer within {check.timeout:g} s"
        except ConnectionRefusedError:
            return self._why_refused(address)
        except OSError as error:
            return f"{_question(address, check)} failed: {error.strerror or error}"
        self._refused.pop(address, None)
        return said

    async def _ask(self, address: Address, check: Check) -> str:
        loop = asyncio.get_running_loop()
        with await self._socket() as connection:
            await loop.sock_connect(connection, (address.ip, address.port))
            if check.path is None:
                return ""
            await loop.sock_sendall(connection, _request(check.path))
            answer = await _read(connection)
        return _judge(answer, _question(address, check))

    async def _socket(self) -> socket.socket:
        if self._inside is None:
            return _make_socket()
        while not self._made:
            async with self._making:
                if not self._made:
                    self._made = await asyncio.get_running_loop().run_in_executor(self._inside, _make_sockets)
        return self._made.pop()

    def _why_refused(self, address: Address) -> str:
        now = asyncio.get_running_loop().time()
        since, words = self._refused.setdefault(address, (now, f"nothing listens on port {address.port} yet"))
        if now - since >= self._every:
            words = self._look(address)
            self._refused[address] = (now, words)
        return words

    def _look(self, address: Address) -> str:
        found = self._listening(address.ip, address.port)
        if not found:
            return f"nothing listens on port {address.port} yet"
        if any(port == address.port for _, port in found):
            where = ", ".join(f"{ip}:{port}" for ip, port in found if port == address.port)
            return f"it listens on {where} only: let it listen on 0.0.0.0 (or $HOST)"
        ports = " and ".join(str(port) for port in sorted({port for _, port in found}))
        return f"nothing listens on port {address.port}; it listens on {ports}: let it listen on $PORT"


def _make_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def _make_sockets() -> list[socket.socket]:
    return [_make_socket() for _ in range(MADE_AT_ONCE)]


def _question(address: Address, check: Check) -> str:
    return f"GET {check.path} on port {address.port}" if check.path is not None else f"port {address.port}"


def _request(path: str) -> bytes:
    """`localhost`, because frameworks that check the Host header all allow it."""
    head = (f"GET {path} HTTP/1.1", "Host: localhost", "User-Agent: atoll-health", "Accept: */*", "Connection: close")
    return "\r\n".join((*head, "", "")).encode()


async def _read(connection: socket.socket) -> bytes:
    """The head of the answer; where it is a refusal also the beginning of its body, if that comes soon."""
    loop = asyncio.get_running_loop()
    answer = b""
    while len(answer) < LONGEST_HEAD and not _passes(answer):
        try:
            async with asyncio.timeout(FOR_WORDS if _STATUS.match(answer) else None):
                data = await loop.sock_recv(connection, LONGEST_HEAD)
        except TimeoutError:
            break
        if not data:
            break
        answer += data
    return answer


def _passes(answer: bytes) -> bool:
    """Enough was read to know that all is well; a refusal is read on, for its words."""
    status = _STATUS.match(answer)
    return status is not None and status[1][:1] in {b"2", b"3"}


def _judge(answer: bytes, question: str) -> str:
    if not answer:
        return f"{question} was closed without an answer"
    status = _STATUS.match(answer)
    if status is None:
        return f"{question} was not answered in HTTP: {answer[:40]!r}"
    if _passes(answer):
        return ""
    code = int(status[1])
    hint = _HINTS.get(code, "")
    words = "" if hint else _words(answer)
    return f"{question} answered {code}" + (f": {hint}" if hint else "") + (f" ({words})" if words else "")


def _words(answer: bytes) -> str:
    """The first line of a plain answer: services say there what they miss."""
    body = answer.partition(b"\r\n\r\n")[2]
    with suppress(UnicodeDecodeError):
        text = body.decode().strip()
        first = text.splitlines()[0] if text else ""
        return "" if first.startswith("<") else first[:LONGEST_WORDS]
    return ""
