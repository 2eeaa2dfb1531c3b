"""Processes by identity (pid and start time), their ends, their markers, and what they listen on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARKER = "ATOLL_INSTANCE"
_TICKS = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Process:
    """One process, told apart from a later one with the same number by its start time (clock ticks since boot)."""

    pid: int
    start_time: int

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        stat = _stat(self.pid)
        return stat is not None and int(stat[19]) == self.start_time and stat[0] not in {"Z", "X"}

    def stopped(self) -> bool:
        """Whether somebody stopped it (SIGSTOP)."""
        stat = _stat(self.pid)
        return stat is not None and stat[0] in {"T", "t"}

    def signal(self, number: int) -> None:
        """Send a signal, if it is still this one."""
        if self.alive():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def cpu(self) -> float | None:
        """Seconds of cpu it and its ended children have used."""
        stat = _stat(self.pid)
        return sum(int(field) for field in stat[11:15]) / _TICKS if stat is not None else None


def process(pid: int) -> Process | None:
    """The process that has this number now."""
    stat = _stat(pid)
    return Process(pid, int(stat[19])) if stat is not None else None


def started_at(found: Process) -> float:
    """When it was started, in seconds since the epoch."""
    boot = next(
        int(line.split()[1]) for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime")
    )
    return boot + found.start_time / _TICKS


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state is 0, utime 11, starttime 19."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return text.rpartition(")")[2].split()


def watch(found: Process, ended: Callable[[], None]) -> Callable[[], None]:
    """
    Call *ended* once, on the running loop, when the process is gone; also for one that is not our child.

    Returns what stops watching. pidfd_open(2).
    """
    loop = asyncio.get_running_loop()
    try:
        descriptor = os.pidfd_open(found.pid)
    except ProcessLookupError:
        loop.call_soon(ended)
        return lambda: None

    def close() -> None:
        if loop.remove_reader(descriptor):
            os.close(descriptor)

    def readable() -> None:
        close()
        ended()

    loop.add_reader(descriptor, readable)
    if not found.alive():
        readable()
    return close


def reap(pid: int) -> int | None:
    """The wait status of our own child where it has ended; None where it is not ours, or runs."""
    try:
        reaped, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if reaped else None


def marked(marker: str) -> Iterator[tuple[Process, str]]:
    """Every process that carries our marker in its environment, with the marker's value after *marker* + '/'."""
    prefix = f"{MARKER}={marker}/".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with suppress(OSError):
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                if variable.startswith(prefix):
                    found = process(int(entry.name))
                    if found is not None and found.alive():
                        yield found, variable[len(prefix) :].decode(errors="replace")


def tree(pid: int) -> tuple[int, ...]:
    """A process and its descendants, the parents first."""
    found = [pid]
    for one in found:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return tuple(found)


def kill_tree(pid: int, number: int = signal.SIGKILL) -> None:
    """Signal a process and its descendants, the parents first so that they start no more."""
    for one in tree(pid):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(one, number)


def listeners(pid: int | str = "self") -> tuple[tuple[str, int], ...]:
    """Addresses and ports that are listened on in the network namespace of a process."""
    found: list[tuple[str, int]] = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                address, _, port = fields[1].partition(":")
                if fields[3] == _LISTEN:
                    found.append((_address(address), int(port, 16)))
    return tuple(found)


def _address(text: str) -> str:
    """An address of /proc/net/tcp: little-endian words in hexadecimal."""
    data = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    if len(data) == 4:  # noqa: PLR2004 - bytes of an IPv4 address
        return ".".join(str(b) for b in data)
    return "::" if not any(data) else "::1" if data == b"\0" * 15 + b"\1" else data.hex(":", 2)
