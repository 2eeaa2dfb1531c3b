"""Three system calls that this Python does not offer: entering a namespace, making one, and unmounting."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def enter_network(path: str) -> None:
    """Move the calling thread, and no other, into the network namespace at *path*. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), path)
    finally:
        os.close(descriptor)


def own_mounts() -> None:
    """Give the calling thread a mount namespace of its own. Raises `OSError`."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")


def unmount(path: str) -> None:
    """Take away what is mounted at *path*, at the latest when nobody uses it any more. Raises `OSError`."""
    _check(_libc.umount2(os.fsencode(path), _MNT_DETACH), path)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
