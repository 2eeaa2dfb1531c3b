"""
The system calls that a sandboxed program may not make, as a program for the kernel (classic BPF, seccomp(2)).

The list follows Docker's default profile (everything that administers a machine, looks into other processes, or makes
namespaces) and adds io_uring, which does file and network work past any filter and has been the richest source of
kernel holes, and all socket families but unix, IP and netlink (socketpair(2), which makes sockets of any family before
it pairs them, is for unix alone). What is not listed is allowed: a new, harmless call must not break a program.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from dataclasses import dataclass

# name: (x86_64, aarch64), from Linux' arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h
DENIED: Mapping[str, tuple[int, int | None]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
    "vserver": (236, None),
}
PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, each also with UNAME26, and the question which one it is: none makes memory executable."""
FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (which address look-ups need)
PAIRED = (1,)  # AF_UNIX: no other listed family has pairs
TERMINAL = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX: typing into the terminal of who started it

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, JEQ, JGE, JSET, RET
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24  # offsets in struct seccomp_data; low words of the arguments


@dataclass(frozen=True, slots=True)
class Machine:
    """What differs: the audit name of the architecture, and the calls whose arguments are looked at."""

    audit: int
    column: int
    clone: int
    clone3: int
    socket: int
    socketpair: int
    ioctl: int
    personality: int
    fallocate: int


MACHINES: Mapping[str, Machine] = {
    "x86_64": Machine(
        audit=0xC000003E,
        column=0,
        clone=56,
        clone3=435,
        socket=41,
        socketpair=53,
        ioctl=16,
        personality=135,
        fallocate=285,
    ),
    "aarch64": Machine(
        audit=0xC00000B7,
        column=1,
        clone=220,
        clone3=435,
        socket=198,
        socketpair=199,
        ioctl=29,
        personality=92,
        fallocate=47,
    ),
}


def program(machine: str) -> bytes | None:
    """
    The filter for `platform.machine()`, ready for `bwrap --seccomp`; None for a machine whose numbers are not known.

    Another architecture's calls (32 bit) kill the process. `clone3` answers ENOSYS, so that the C library falls back
    to `clone`, whose flags can be looked at. `fallocate` answers EOPNOTSUPP as many file systems do: it takes room on
    the host's disk past RLIMIT_FSIZE (FALLOC_FL_KEEP_SIZE), and its log is all that a program can write there.
    """
    known = MACHINES.get(machine)
    if known is None:
        return None
    code = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, known.audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
    ]
    if known.column == 0:
        code += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    code += _refuse(known.clone3, errno.ENOSYS) + _refuse(known.fallocate, errno.EOPNOTSUPP)
    for numbers in DENIED.values():
        number = numbers[known.column]
        if number is not None:
            code += _refuse(number, errno.EPERM)
    code += _clone(known) + _socket(known) + _personality(known) + _ioctl(known)
    code.append(_step(_RETURN, _ALLOW))
    return b"".join(code)


def _refuse(number: int, error: int) -> list[bytes]:
    return [_step(_EQUAL, number, 0, 1), _step(_RETURN, _ERRNO | error)]


def _clone(machine: Machine) -> list[bytes]:
    return [
        _step(_EQUAL, machine.clone, 0, 4),
        _step(_LOAD, _FIRST),
        _step(_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _step(_RETURN, _ERRNO | errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]


def _socket(machine: Machine) -> list[bytes]:
    families = _only(machine.socket, FAMILIES, errno.EAFNOSUPPORT)
    return families + _only(machine.socketpair, PAIRED, errno.EAFNOSUPPORT)


def _personality(machine: Machine) -> list[bytes]:
    return _only(machine.personality, PERSONALITIES, errno.EPERM)


def _only(number: int, values: tuple[int, ...], error: int) -> list[bytes]:
    """Allow a call where its first argument is one of *values*."""
    tests = [_step(_EQUAL, value, len(values) - at, 0) for at, value in enumerate(values)]
    return [
        _step(_EQUAL, number, 0, len(values) + 3),
        _step(_LOAD, _FIRST),
        *tests,
        _step(_RETURN, _ERRNO | error),
        _step(_RETURN, _ALLOW),
    ]


def _ioctl(machine: Machine) -> list[bytes]:
    tests = [_step(_EQUAL, request, len(TERMINAL) - at, 0) for at, request in enumerate(TERMINAL)]
    return [
        _step(_EQUAL, machine.ioctl, 0, len(TERMINAL) + 3),
        _step(_LOAD, _SECOND),
        *tests,
        _step(_RETURN, _ALLOW),
        _step(_RETURN, _ERRNO | errno.EPERM),
    ]


def _step(code: int, operand: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, operand)
