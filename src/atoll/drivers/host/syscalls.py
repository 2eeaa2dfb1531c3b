"""System calls that this Python does not offer: entering a namespace, making one, mounting and unmounting."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
_MNT_DETACH = 2
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_RELATIME = 1, 1 << 5, 1 << 12, 1 << 21
_MS_KEPT = 0x2 | 0x4 | 0x8 | 0x400 | 0x800  # nosuid, nodev, noexec, noatime, nodiratime: as statvfs(3) numbers them

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


def make_read_only(path: str) -> None:
    """
    Let nobody change the file at *path* through this mount namespace, its mode included; once is enough.

    Whoever has it open by way of this mount, be it as `/proc/PID/exe`, gets EROFS. Raises `OSError`.
    """
    flags = os.statvfs(path).f_flag
    if flags & os.ST_RDONLY:
        return
    # A user namespace may not take off what its mounts were given outside (mount_namespaces(7)), so it is said again.
    kept = flags & _MS_KEPT | (_MS_RELATIME if flags & os.ST_RELATIME else 0)
    target = os.fsencode(path)
    _check(_libc.mount(target, target, None, _MS_BIND, None), path)
    _check(_libc.mount(None, target, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept, None), path)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
