"""One control plane per state directory: a lock that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from atoll.errors import Conflict, Unavailable


def hold(path: Path) -> int:
    """
    Take the lock and return its descriptor, which passes through exec.

    Raises `errors.Conflict` naming the holder, `errors.Unavailable` where the directory cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unavailable(
            f"the state directory {path.parent} cannot be written: {error.strerror}",
            hint="make it writable for you, or name another with --state",
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise Conflict(
            f"another control plane holds {path.parent}: {holder}",
            hint="talk to that one (`atoll status`), or end it with `atoll down`",
        ) from None
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"process {os.getpid()}, user {os.getuid()}, since {since}\n".encode(), 0)
    os.set_inheritable(descriptor, True)
    return descriptor
