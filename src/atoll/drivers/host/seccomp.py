"""
The system calls that no service needs, as a classic BPF program for `bwrap --seccomp`.

A deny-list after Docker's default profile: what administers the machine, reaches into other processes, or has been
the way out of containers. `clone3` answers ENOSYS, so that libc falls back to `clone`, whose flags can be looked at.
Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux 6.
"""

from __future__ import annotations

import platform
import struct
from collections.abc import Mapping
from errno import ENOSYS, EPERM
from types import MappingProxyType

ALLOW = 0x7FFF0000
KILL = 0x80000000
ERRNO = 0x00050000

_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET
_SOCKET_FAMILIES = (40, 38)  # AF_VSOCK reaches the hypervisor, AF_ALG the kernel's crypto: both have had holes

AUDIT = MappingProxyType({"x86_64": 0xC000003E, "aarch64": 0xC00000B7})

DENIED: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        # name: (x86_64, aarch64); -1 where an architecture does not have it
        "ptrace": (101, 117),
        "syslog": (103, 116),
        "acct": (163, 89),
        "settimeofday": (164, 170),
        "mount": (165, 40),
        "umount2": (166, 39),
        "swapon": (167, 224),
        "swapoff": (168, 225),
        "reboot": (169, 142),
        "iopl": (172, -1),
        "ioperm": (173, -1),
        "init_module": (175, 105),
        "delete_module": (176, 106),
        "quotactl": (179, 60),
        "pivot_root": (155, 41),
        "chroot": (161, 51),
        "adjtimex": (159, 171),
        "clock_settime": (227, 112),
        "clock_adjtime": (305, 266),
        "mbind": (237, 235),
        "kexec_load": (246, 104),
        "add_key": (248, 217),
        "request_key": (249, 218),
        "keyctl": (250, 219),
        "unshare": (272, 97),
        "move_pages": (279, 239),
        "perf_event_open": (298, 241),
        "fanotify_init": (300, 262),
        "name_to_handle_at": (303, 264),
        "open_by_handle_at": (304, 265),
        "setns": (308, 268),
        "process_vm_readv": (310, 270),
        "process_vm_writev": (311, 271),
        "kcmp": (312, 272),
        "finit_module": (313, 273),
        "kexec_file_load": (320, 294),
        "bpf": (321, 280),
        "userfaultfd": (323, 282),
        "io_uring_setup": (425, 425),  # the richest source of kernel holes of recent years; runtimes fall back to epoll
        "io_uring_enter": (426, 426),
        "io_uring_register": (427, 427),
        "open_tree": (428, 428),
        "move_mount": (429, 429),
        "fsopen": (430, 430),
        "fsconfig": (431, 431),
        "fsmount": (432, 432),
        "fspick": (433, 433),
        "pidfd_getfd": (438, 438),
        "quotactl_fd": (443, 443),
        "mount_setattr": (442, 442),
    }
)
_CLONE, _CLONE3, _SOCKET = (56, 220), (435, 435), (41, 198)


def program(machine: str = "") -> bytes | None:
    """The filter for *machine* (this one by default), None where we have no table for it."""
    name = machine or platform.machine()
    if name not in AUDIT:
        return None
    column = 0 if name == "x86_64" else 1
    code = [
        _statement(_LOAD, _ARCH),
        *_unless_equal(AUDIT[name], KILL),
        _statement(_LOAD, _NUMBER),
    ]
    if name == "x86_64":
        code += [_jump(_JUMP_ABOVE, _X32, 0, 1), _statement(_RETURN, KILL)]
    for numbers in DENIED.values():
        if numbers[column] >= 0:
            code += _if_equal(numbers[column], ERRNO | EPERM)
    code += _if_equal(_CLONE3[column], ERRNO | ENOSYS)
    code += _clone(_CLONE[column])
    code += _socket(_SOCKET[column])
    code.append(_statement(_RETURN, ALLOW))
    return b"".join(code)


def _statement(operation: int, value: int) -> bytes:
    return struct.pack("<HBBI", operation, 0, 0, value)


def _jump(operation: int, value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("<HBBI", operation, then, otherwise, value)


def _if_equal(value: int, result: int) -> list[bytes]:
    return [_jump(_JUMP_EQUAL, value, 0, 1), _statement(_RETURN, result)]


def _unless_equal(value: int, result: int) -> list[bytes]:
    return [_jump(_JUMP_EQUAL, value, 1, 0), _statement(_RETURN, result)]


def _clone(number: int) -> list[bytes]:
    """No new namespaces by `clone`: a user namespace would give every capability back."""
    return [
        _jump(_JUMP_EQUAL, number, 0, 4),
        _statement(_LOAD, _FIRST_ARGUMENT),
        _jump(_JUMP_SET, _NEW_NAMESPACES, 0, 1),
        _statement(_RETURN, ERRNO | EPERM),
        _statement(_LOAD, _NUMBER),
    ]


def _socket(number: int) -> list[bytes]:
    families = [part for family in _SOCKET_FAMILIES for part in _if_equal(family, ERRNO | EPERM)]
    return [
        _jump(_JUMP_EQUAL, number, 0, len(families) + 2),
        _statement(_LOAD, _FIRST_ARGUMENT),
        *families,
        _statement(_LOAD, _NUMBER),
    ]
