"""Read what instances wrote: the last lines of each file, then what is added."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

from atoll import wire

LOOK_AGAIN = 0.2
CHUNK = 64 * 1024
AT_ONCE = 16 * CHUNK

INSTANCE = re.compile(r"(?P<service>.+)-r\d+-\d+")
"""`orders-r3-12` is an instance of orders; the proxies' logs lie beside and are nobody's."""


async def lines(directory: Path, service: str | None, tail: int, *, follow: bool) -> AsyncIterator[wire.LogLine]:
    """
    The last *tail* lines of every instance's newest log, oldest file first, then new lines while *follow*.

    A last line without its line break is shown where nothing more is waited for, else once it is whole. A file that
    shrinks was rotated and is read from its new start.
    """
    at: dict[Path, int] = {}
    for path in _files(directory, service):
        text, at[path] = await asyncio.to_thread(_end, path, tail, whole=follow)
        for line in text:
            yield _line(path, line)
    while follow:
        await asyncio.sleep(LOOK_AGAIN)
        files = _files(directory, service)
        at = {path: at.get(path, 0) for path in files}
        for path, start in at.items():
            size = _size(path)
            if size != start:
                text, at[path] = await asyncio.to_thread(_between, path, start if size > start else 0)
                for line in text:
                    yield _line(path, line)


def _files(directory: Path, service: str | None) -> list[Path]:
    found = ((path, INSTANCE.fullmatch(path.stem)) for path in directory.glob("*.log"))
    return sorted((p for p, match in found if match and service in {None, match["service"]}), key=_age)


def _age(path: Path) -> tuple[float, str]:
    try:
        return path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _line(path: Path, text: str) -> wire.LogLine:
    return wire.LogLine(path.stem.rsplit("-r", 1)[0], path.stem, text)


def _end(path: Path, tail: int, *, whole: bool) -> tuple[list[str], int]:
    """The last lines, and where to read on; nothing of a file that is gone."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            data = _last(file, size, tail)
    except OSError:
        return [], 0
    if whole:
        complete = _whole(data)
        data, size = complete, size - len(data) + len(complete)
    return _split(data)[-tail:] if tail else [], size


def _last(file: BinaryIO, size: int, tail: int) -> bytes:
    """
    The last pieces of the file, as many as hold the last lines.

    Each piece is looked through once and they are joined once: a log may be hundreds of MiB without a line break.
    """
    pieces: list[bytes] = []
    breaks, end = 0, size
    for start in _backwards(size):
        file.seek(start)
        pieces.append(file.read(end - start))
        breaks, end = breaks + pieces[-1].count(b"\n"), start
        if breaks > tail:
            break
    return b"".join(reversed(pieces))


def _backwards(size: int) -> Iterator[int]:
    start = size
    while start > 0:
        start = max(0, start - CHUNK)
        yield start


def _between(path: Path, start: int) -> tuple[list[str], int]:
    """Whole lines from *start* on, and where to read on."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(AT_ONCE)
    except OSError:
        return [], start
    # One line that is longer than what is read at once: better in pieces than never.
    whole = _whole(data) or (data if len(data) == AT_ONCE else b"")
    return _split(whole), start + len(whole)


def _whole(data: bytes) -> bytes:
    return data[: data.rfind(b"\n") + 1]


def _split(data: bytes) -> list[str]:
    """Lines end with a line break and with nothing else that Unicode would break lines at."""
    text = data.decode(errors="replace").removesuffix("\n")
    return [line.removesuffix("\r") for line in text.split("\n")] if data else []
