"""One control plane per state directory: a lock that the kernel lets go of when its holder dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from atoll.errors import Conflict, Unavailable


def hold(path: Path) -> int:
    """
    Take the lock and return its descriptor, which passes through exec: `keep` it there.

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
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").partition("\n")[0]
        os.close(descriptor)
        raise Conflict(
            f"another control plane holds {path.parent}: {holder}",
            hint="talk to that one (`atoll status`), or end it with `atoll down`",
        ) from None
    _sign(path, descriptor)
    os.set_inheritable(descriptor, True)
    return descriptor


def keep(descriptor: int) -> None:
    """After exec: pass the lock on to nobody, for what a dead control plane has started would hold it."""
    os.set_inheritable(descriptor, False)


def holder(path: Path) -> int | None:
    """The process number of the control plane that holds the lock, as far as it lives. Looks and takes nothing."""
    try:
        pid = int(path.read_text().split()[1].rstrip(","))
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (OSError, ValueError, IndexError):
        return None
    # The number may be somebody else's by now.
    ours = str(path.parent) in arguments and any(word.startswith("atoll.server") for word in arguments)
    return pid if ours else None


def _sign(path: Path, descriptor: int) -> None:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    line = f"process {os.getpid()}, user {os.getuid()}, since {since}\n".encode()
    try:
        # In this order: whoever looks in between finds a whole first line, and not an empty file that nobody holds.
        os.pwrite(descriptor, line, 0)
        os.ftruncate(descriptor, len(line))
    except OSError as error:
        os.close(descriptor)
        raise Unavailable(f"{path} cannot be written: {error.strerror}", hint="make room on the disk") from error
