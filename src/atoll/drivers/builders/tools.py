"""Run a build tool: its own process group, a clean environment, a time limit, the lines that tell when it fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from atoll.errors import Failed
from atoll.values.printable import plain

LIMIT = 900.0
MOMENT = 1.0
"""Seconds in which what a tool wrote last is read where something that it left behind holds its output open."""
FIRST_LINES, LAST_LINES = 15, 20
"""Of a long output both ends are shown: many tools name the reason first, and explain their usage after it."""
LONGEST_LINE = 2000
_KEPT = ("HOME", "PATH", "USER", "LANG", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
_KEPT_PREFIXES = ("UV_", "PIP_", "NPM_CONFIG_", "npm_config_", "SSL_", "NODE_EXTRA_CA", "REQUESTS_CA")
_KEPT_ENDINGS = ("_PROXY", "_proxy")


@dataclass(slots=True)
class _Told:
    """What a tool has said, as far as it is kept: the first lines and the last ones."""

    first: list[str] = field(default_factory=list)
    last: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    left_out: int = 0

    def add(self, line: str) -> None:
        if len(self.first) < FIRST_LINES:
            self.first.append(line)
            return
        self.left_out += len(self.last) == LAST_LINES
        self.last.append(line)

    def words(self) -> str:
        between = [f"... {self.left_out} lines ..."] if self.left_out else []
        return "\n".join((*self.first, *between, *self.last))


async def run(
    command: Sequence[str], *, directory: Path, env: Mapping[str, str], log: Path, progress: Callable[[str], None]
) -> None:
    """
    Run *command* in *directory*; every line goes to *log* and *progress*.

    Raises `errors.Failed` with the tool's name, its exit code and its first and last lines, also when it takes too
    long. A cancelled build ends its tools. It is over when the tool has ended, whatever that has left behind.
    """
    name, told = Path(command[0]).name, _Told()
    async with _output() as (output, pipe, end):
        process = await _started(command, directory, env, end)
        ending = asyncio.create_task(_end(process, pipe))
        try:
            async with asyncio.timeout(LIMIT):
                await _read(output, log, told, progress)
                code = await process.wait()
        except TimeoutError:
            raise Failed(f"{name} took longer than {LIMIT:g} s:\n" + told.words()) from None
        finally:
            ending.cancel()
            _kill(process)
            await process.wait()
    if code:
        raise Failed(f"{' '.join((name, *command[1:3]))} failed with code {code}:\n" + told.words())


@asynccontextmanager
async def _output() -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.BaseTransport, IO[bytes]]]:
    """
    A pipe for what a tool writes: where we read, what closes that, and the end to write to.

    It is not the process's own, which asyncio takes for running as long as anybody has the other end.
    """
    ours, theirs = (os.fdopen(end, mode, buffering=0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    reader = asyncio.StreamReader()
    with theirs:
        loop = asyncio.get_running_loop()
        pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), ours)
        try:
            yield reader, pipe, theirs
        finally:
            pipe.close()


async def _started(
    command: Sequence[str], directory: Path, env: Mapping[str, str], output: IO[bytes]
) -> asyncio.subprocess.Process:
    """The tool, which alone has the end to write to from then on."""
    with output:
        try:
            return await asyncio.create_subprocess_exec(
                "nice",
                "-n",
                "10",
                *command,
                cwd=directory,
                env=_environment() | dict(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            name = Path(command[0]).name
            raise Failed(f"{name} cannot be run: {error.strerror}", hint="see `atoll doctor`") from error


async def _end(process: asyncio.subprocess.Process, pipe: asyncio.BaseTransport) -> None:
    """
    Once the tool has ended, end what it left behind.

    Where that holds the output open, as build daemons do, it would be read as long as it lives. What has left the
    tool's process group as well lives on, and nobody reads it.
    """
    await process.wait()
    await asyncio.sleep(MOMENT)
    _kill(process)
    pipe.close()


def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


async def _read(output: asyncio.StreamReader, log: Path, told: _Told, progress: Callable[[str], None]) -> None:
    rest = b""
    with log.open("ab") as file:
        while data := await output.read(8192):
            file.write(data)
            *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
            rest = rest[-LONGEST_LINE:]
            for line in lines:
                _tell(line, told, progress)
    _tell(rest, told, progress)


def _tell(line: bytes, told: _Told, progress: Callable[[str], None]) -> None:
    text = plain(line[:LONGEST_LINE].decode(errors="replace")).rstrip()
    if text:
        told.add(text)
        progress(text.strip())


def _environment() -> dict[str, str]:
    """What build tools may know of ours: their own settings and how to reach the network, nothing else."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES) or name.endswith(_KEPT_ENDINGS)
    }
