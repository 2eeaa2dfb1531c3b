"""What the kernel tells of a process that is nobody's child of ours: its fields, and how it ended."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

from atoll.plan.observed import Exit, describe

_GET_INFO = 0xC040FF0B
"""PIDFD_GET_INFO of linux/pidfd.h, for the 64 bytes that it began with."""
_SIZE = 64
_EXIT = 1 << 3
_CODE_AT = 60
_AFTER_NAME = 49
"""Where the exit code is in what follows the name in /proc/PID/stat: field 52."""


def stat(pid: int) -> list[bytes]:
    """What follows the name in /proc/PID/stat (proc(5)), from the state on; empty where there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def ending(descriptor: int, pid: int) -> str:
    """How it ended, as the middle of a sentence; empty where nobody can know. *descriptor* is its pidfd."""
    status = _unreaped(pid)
    status = _reaped(descriptor) if status is None else status
    if status is None:
        return ""
    code = os.waitstatus_to_exitcode(status)
    return describe(Exit(0.0, code=code) if code >= 0 else Exit(0.0, signal=-code))


def _unreaped(pid: int) -> int | None:
    """Of one whose parent has not asked yet."""
    fields = stat(pid)
    with suppress(IndexError):
        if fields[0] == b"Z":
            return int(fields[_AFTER_NAME])
    return None


def _reaped(descriptor: int) -> int | None:
    """Of one whose parent has: from Linux 6.15 on the kernel keeps it for who has a pidfd."""
    answer = bytearray(_SIZE)
    struct.pack_into("Q", answer, 0, _EXIT)
    try:
        fcntl.ioctl(descriptor, _GET_INFO, answer)
    except OSError:
        return None
    (known,) = struct.unpack_from("Q", answer, 0)
    (code,) = struct.unpack_from("i", answer, _CODE_AT)
    return int(code) if known & _EXIT else None
