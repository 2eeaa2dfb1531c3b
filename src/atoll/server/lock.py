"""
One control plane per state directory: a lock that the kernel lets go of when its holder dies.

The lock's file says who that is. It lies where people tidy up, so the run directory is held too: see `hold_directory`.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from atoll.errors import AtollError, Conflict, Unavailable


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


def keep_there(path: Path, descriptor: int) -> int:
    """
    Have the lock where others look for it: where somebody has deleted its file, another one is written and held.

    Returns the descriptor that holds it now. Where somebody else does, for a moment, it is tried again another time.
    """
    with suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), os.fstat(descriptor)):
            return descriptor
    if not path.parent.exists():  # moved or deleted as a whole
        return descriptor
    try:
        another = hold(path)
    except AtollError:
        return descriptor
    keep(another)
    os.close(descriptor)
    return another


def hold_directory(run: Path) -> int:
    """
    Take the run directory and return the descriptor that holds it.

    Raises `errors.Conflict` where another control plane has it: one whose lock file was deleted.
    """
    descriptor = os.open(run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(
            f"another control plane holds {run}: somebody deleted the file that names it, and it writes that anew",
            hint="talk to that one (`atoll status`), or end it with `atoll down`",
        ) from None
    return descriptor


def holder(path: Path) -> int | None:
    """The process number of the control plane that holds the lock, as far as it lives. Looks and takes nothing."""
    pid, state = _signed(path)
    return pid if state == path.parent else None


def moved(path: Path) -> tuple[int, Path] | None:
    """
    Who holds the lock of a directory that was moved since, and what that was called; None where it was not.

    A copy of a directory is not that: it has the line that names the holder, but nobody holds it.
    """
    pid, state = _signed(path)
    if pid is None or state is None or state == path.parent or not _has_open(pid, path):
        return None
    return pid, state


def _signed(path: Path) -> tuple[int | None, Path | None]:
    """The control plane that signed the lock, as far as it lives, and its state directory as it was called then."""
    try:
        pid = int(path.read_text().split()[1].rstrip(","))
        arguments = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).split("\0")
        state = Path(arguments[arguments.index("--state") + 1])
    except (OSError, ValueError, IndexError):
        return None, None
    # The number may be somebody else's by now.
    return (pid, state) if any(word.startswith("atoll.server") for word in arguments) else (None, None)


def _has_open(pid: int, path: Path) -> bool:
    """Whether the process has this file open. To try the lock would take it, for a moment, from who wants it."""
    with suppress(OSError):
        ours = path.stat()
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                if os.path.samestat(ours, descriptor.stat()):
                    return True
    return False


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
