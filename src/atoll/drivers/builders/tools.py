"""Run a build tool: its own process group, a clean environment, a time limit, the lines that tell when it fails."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from atoll.errors import Failed
from atoll.values.printable import plain

LIMIT = 900.0
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
    long. A cancelled build ends its tools.
    """
    name = Path(command[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            "nice",
            "-n",
            "10",
            *command,
            cwd=directory,
            env=_environment() | dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"{name} cannot be run: {error.strerror}", hint="see `atoll doctor`") from error
    told = _Told()
    try:
        async with asyncio.timeout(LIMIT):
            await _read(process, log, told, progress)
            code = await process.wait()
    except TimeoutError:
        raise Failed(f"{name} took longer than {LIMIT:g} s:\n" + told.words()) from None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if code:
        raise Failed(f"{' '.join((name, *command[1:3]))} failed with code {code}:\n" + told.words())


async def _read(process: asyncio.subprocess.Process, log: Path, told: _Told, progress: Callable[[str], None]) -> None:
    assert process.stdout is not None  # noqa: S101 - asked for above
    rest = b""
    with log.open("ab") as file:
        while data := await process.stdout.read(8192):
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
