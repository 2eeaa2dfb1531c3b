"""Constant load that also notes who answered and with what, for benchmarks that ask when something became visible."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.running import ROOT  # first: it makes the next line's package importable

from atoll.drivers.host.syscalls import enter_network
from e2e.load import Load

__all__ = ["ROOT", "NamedLoad", "StatusWatch"]


class NamedLoad(Load):
    """`first` has the moment at which each instance's first answer arrived."""

    def __init__(self, port: int, **options: Any) -> None:
        super().__init__(port, **options)
        self.first: dict[str, float] = {}

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bool]:
        status, closing, body = await ask(reader, writer, f"127.0.0.1:{self.port}", self.path)
        if status == 200:
            name = body.partition(b'"name": "')[2].partition(b'"')[0].decode()
            self.first.setdefault(name, time.monotonic())
        return status, closing


class StatusWatch(Load):
    """Asks `host` from inside a network namespace and keeps (begun, ended, status) of every answer."""

    def __init__(self, netns: str, host: str, path: str, clients: int) -> None:
        super().__init__(80, path=path, clients=clients, pause=0.001)
        self.netns, self.host = netns, host
        self.answers: list[tuple[float, float, int]] = []

    async def _all(self) -> None:
        enter_network(self.netns)  # for this thread only
        await super()._all()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bool]:
        begun = time.monotonic()
        status, closing, _ = await ask(reader, writer, self.host, self.path)
        self.answers.append((begun, time.monotonic(), status))
        return 200, closing


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, path: str
) -> tuple[int, bool, bytes]:
    """One GET on an open connection: status, whether the connection is to be closed, body."""
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    await writer.drain()
    status = int((await reader.readline()).split()[1])
    length, closing = 0, False
    while (line := (await reader.readline()).lower()) not in {b"\r\n", b""}:
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        closing = closing or line.strip() == b"connection: close"
    return status, closing, await reader.readexactly(length)
