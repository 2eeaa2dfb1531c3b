"""Read what instances wrote: the last lines of each file, then what is added."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from atoll import wire

LOOK_AGAIN = 0.2
CHUNK = 64 * 1024


async def lines(directory: Path, service: str | None, tail: int, *, follow: bool) -> AsyncIterator[wire.LogLine]:
    """
    The last *tail* lines of every instance's newest log, oldest file first, then new lines while *follow*.

    A file that shrinks was rotated and is read from its new start.
    """
    at: dict[Path, int] = {}
    for path in _files(directory, service):
        text, at[path] = await asyncio.to_thread(_end, path, tail)
        for line in text:
            yield _line(path, line)
    while follow:
        await asyncio.sleep(LOOK_AGAIN)
        for path in _files(directory, service):
            size = path.stat().st_size if path.exists() else 0
            start = at.get(path, 0) if size >= at.get(path, 0) else 0
            if size > start:
                text, at[path] = await asyncio.to_thread(_between, path, start)
                for line in text:
                    yield _line(path, line)


def _files(directory: Path, service: str | None) -> list[Path]:
    found = [p for p in directory.glob("*.log") if service is None or _service(p) == service]
    return sorted(found, key=lambda p: (p.stat().st_mtime if p.exists() else 0.0, p.name))


def _service(path: Path) -> str:
    """`orders-r3-12.log` belongs to orders."""
    return path.stem.rsplit("-r", 1)[0]


def _line(path: Path, text: str) -> wire.LogLine:
    return wire.LogLine(_service(path), path.stem, text)


def _end(path: Path, tail: int) -> tuple[list[str], int]:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        data = b""
        for start in _backwards(size):
            file.seek(start)
            data = file.read(min(CHUNK, size - start - len(data))) + data
            if data.count(b"\n") > tail:
                break
    whole = data[: data.rfind(b"\n") + 1]
    return whole.decode(errors="replace").splitlines()[-tail:], size - (len(data) - len(whole))


def _backwards(size: int) -> Iterator[int]:
    start = size
    while start > 0:
        start = max(0, start - CHUNK)
        yield start


def _between(path: Path, start: int) -> tuple[list[str], int]:
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(16 * CHUNK)
    whole = data[: data.rfind(b"\n") + 1]
    if not whole and len(data) == 16 * CHUNK:
        whole = data  # one line longer than the buffer: better in pieces than never
    return whole.decode(errors="replace").splitlines(), start + len(whole)
