"""
Processes as the kernel shows them under `/proc`, see proc(5).

A process is identified by its number and its start time together, as numbers are reused; what Atoll started is found
again by a marker in its environment, which nothing can take away from a process that runs.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.drivers.host.files import read_kernel

INSTANCE = "ATOLL_INSTANCE"
"""The variable that marks what belongs to an instance: `<system>/<instance>`."""

_PROC = Path("/proc")
_BOOT = _PROC / "sys/kernel/random/boot_id"
_LISTEN = "0A"
_ANY = {"0.0.0.0", "::"}  # noqa: S104 - looked for, not listened on
_AFTER_NAME = 3  # the fields after the name begin with field 3, the state
_PPID, _SID, _UTIME, _STIME, _THREADS, _START, _RSS = 4, 6, 14, 15, 20, 22, 24
_ENDED = {"Z", "X"}
STOPPED = {"T", "t"}
"""Somebody stopped it (SIGSTOP), or a debugger holds it."""


@dataclass(frozen=True, slots=True)
class Consumption:
    """What a process used: cpu in seconds since its start, resident memory in bytes, threads."""

    cpu: float
    memory: int
    threads: int


def boot() -> str:
    """Names this run of the machine: start times of another one mean nothing."""
    with suppress(OSError):
        return _BOOT.read_text().strip()
    return ""


def uptime() -> float:
    """Seconds since this boot, those that the machine slept included: nobody sets this clock. For what outlives us."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def start_time(pid: int) -> int | None:
    """When the process began, in clock ticks since boot; None where there is none, or only a zombie."""
    fields = _stat(pid)
    return int(fields[_START - _AFTER_NAME]) if fields and fields[0] not in _ENDED else None


def state(pid: int, started: int) -> str:
    """The letter for the state of the very process that began at *started*; empty where that runs no more."""
    fields = _stat(pid) if pid > 0 else []
    same = bool(fields) and fields[0] not in _ENDED and int(fields[_START - _AFTER_NAME]) == started
    return fields[0] if same else ""


def alive(pid: int, started: int) -> bool:
    """Whether the very process that began at *started* still runs."""
    return bool(state(pid, started))


def children(pid: int) -> tuple[int, ...]:
    """Its children, oldest first."""
    try:
        return tuple(sorted(int(child) for child in (_PROC / f"{pid}/task/{pid}/children").read_text().split()))
    except FileNotFoundError:  # also where the kernel was built without CONFIG_PROC_CHILDREN
        return tuple(one for one in pids() if (fields := _stat(one)) and int(fields[_PPID - _AFTER_NAME]) == pid)
    except OSError:
        return ()


def pids() -> Iterator[int]:
    """The numbers of all processes that can be seen."""
    return (int(name) for name in os.listdir(_PROC) if name.isdecimal())  # noqa: PTH208 - twice as fast, often called


def marker(pid: int, variable: str) -> str | None:
    """The value of *variable* in the environment the process was started with; None where it has none."""
    try:
        environment = (_PROC / f"{pid}/environ").read_bytes()
    except OSError:
        return None
    prefix = f"{variable}=".encode()
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode(errors="replace")
    return None


def owned(pid: int) -> bool:
    """
    Whether a process is of our user, whatever it may do, and sees the processes that we see.

    What anybody may write on himself, a name or a variable, is believed of such a one only: not of other users', nor of
    what runs in a sandbox.
    """
    try:
        words = (_PROC / f"{pid}/status").read_text()
    except OSError:
        return False
    users = next((line.split()[1:] for line in words.splitlines() if line.startswith("Uid:")), [])
    here = namespace(os.getpid(), "pid")
    return set(users) == {str(os.geteuid())} and here is not None and namespace(pid, "pid") == here


def marked(variable: str) -> dict[int, str]:
    """All processes that carry *variable*, with its value. Processes of other users cannot be read and are left out."""
    found = ((pid, marker(pid, variable)) for pid in pids())
    return {pid: value for pid, value in found if value is not None and start_time(pid) is not None}


def consumption(members: Iterable[int]) -> Consumption:
    """What the processes *members* use together."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    cpu = memory = threads = 0
    for pid in members:
        fields = _stat(pid)
        if fields:
            cpu += int(fields[_UTIME - _AFTER_NAME]) + int(fields[_STIME - _AFTER_NAME])
            memory += int(fields[_RSS - _AFTER_NAME]) * page
            threads += int(fields[_THREADS - _AFTER_NAME])
    return Consumption(cpu / ticks, memory, threads)


def session(leader: int) -> tuple[int, ...]:
    """The processes of the session that *leader* began, itself included, as long as its number is not taken again."""
    found = ((pid, _stat(pid)) for pid in pids())
    return tuple(
        pid for pid, fields in found if fields and fields[0] not in _ENDED and int(fields[_SID - _AFTER_NAME]) == leader
    )


def namespace(pid: int, kind: str) -> int | None:
    """The inode of a namespace (`net`, `mnt`, `user`) of a process; None where it cannot be known."""
    with suppress(OSError):
        return (_PROC / f"{pid}/ns/{kind}").stat().st_ino
    return None


def listeners() -> Iterable[int]:
    """The TCP ports that something listens on in this network namespace."""
    return {port for _, port, _ in _listening(_PROC / "self")}


def listening(pid: int, among: Iterable[int] | None = None) -> tuple[tuple[str, int], ...]:
    """
    The addresses listened on in the network namespace of *pid*, sorted.

    With *among* only those that belong to these processes: others share the namespace.
    """
    inodes = None if among is None else {inode for one in among for inode in _sockets(one)}
    found = _listening(_PROC / str(pid))
    return tuple(sorted({(ip, port) for ip, port, inode in found if inodes is None or inode in inodes}))


def listener(ip: str, port: int) -> tuple[int, str] | None:
    """
    The number and the name of a process that takes what comes to this address in this network namespace.

    None where there is none, and where it cannot be seen: those of other users cannot.
    """
    here = {i for at, p, i in _listening(_PROC / "self") if p == port and ({at, ip} & _ANY or at == ip)}
    for pid in sorted(pids()) if here else ():
        if not here.isdisjoint(_sockets(pid)):
            with suppress(OSError):
                return pid, (_PROC / f"{pid}/comm").read_text(errors="replace").strip()
    return None


def _listening(process: Path) -> Iterator[tuple[str, int, int]]:
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (process / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTEN:
                    ip, _, port = fields[1].partition(":")
                    yield _address(ip), int(port, 16), int(fields[9])


def _address(text: str) -> str:
    """The kernel prints addresses as words in the order of this machine."""
    words = [int(text[at : at + 8], 16) for at in range(0, len(text), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, packed)


def _sockets(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for descriptor in (_PROC / f"{pid}/fd").iterdir():
            with suppress(OSError):
                target = str(descriptor.readlink())
                if target.startswith("socket:["):
                    yield int(target[8:-1])


def _stat(pid: int) -> list[str]:
    """The fields after the name, which itself may hold anything; empty where there is no such process."""
    with suppress(OSError):
        return read_kernel(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return []
