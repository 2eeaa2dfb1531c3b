"""A mesh of one socket, in virtual time: it answers as the releases would, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from virtual import VirtualLoop


class Mesh:
    """`answers` maps a release (`orders`, `orders@next`) to a status and a body, or to a coroutine that gives them."""

    def __init__(self, socket: Path) -> None:
        self.socket = str(socket)
        self.answers: dict[str, tuple[int, bytes] | Callable[[], Awaitable[tuple[int, bytes]]]] = {}
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.named = True

    async def start(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, self.socket, limit=1 << 20)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:] if ": " in line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.asked.append((lines[0], headers, body))
                answer = self.answers[headers["x-atoll-shadow-to"]]
                status, content = await answer() if callable(answer) else answer
                who = "x-atoll-shadow-from: 10.201.0.2:8080\r\n" if self.named else ""
                head = f"HTTP/1.1 {status} Any\r\n{who}content-type: application/json\r\ndate: {len(self.asked)}\r\n"
                writer.write(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
                await writer.drain()
        writer.close()


def pytest_asyncio_loop_factories():
    return {"virtual": VirtualLoop}


@pytest.fixture
async def mesh(tmp_path):
    one = Mesh(tmp_path / "shadow.sock")
    server = await one.start()
    yield one
    server.close()
