"""A program that tries one attack on the sandbox it runs in, and says what came of it, as JSON."""
# An intruder takes the shortest way.
# ruff: noqa: PTH101, PTH110, PTH123, PTH208, TRY300

import ctypes
import errno
import json
import os
import platform
import socket
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def call(function, *arguments):
    ctypes.set_errno(0)
    result = function(*arguments)
    return errno.errorcode.get(ctypes.get_errno(), "?") if result == -1 else "allowed"


def syscall(x86, arm, *arguments):
    return call(libc.syscall, x86 if X86 else arm, *arguments)


def opens(path, mode="rb"):
    try:
        with open(path, mode) as file:
            file.read(1) if "r" in mode else file.write("x")
        return "allowed"
    except OSError as error:
        return errno.errorcode[error.errno]


def connects(target):
    host, _, port = target.rpartition(":")
    try:
        with socket.socket() as one:
            one.settimeout(1)
            one.connect((host, int(port)))
        return "allowed"
    except TimeoutError:
        return "ETIMEDOUT"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


def status(pid="self"):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


def family(number):
    try:
        kind = socket.SOCK_RAW if number in {2, 17} else socket.SOCK_STREAM
        socket.socket(number, kind, 1 if number == 2 else 0).close()
        return "allowed"
    except OSError as error:
        return errno.errorcode[error.errno]


def pair(number):
    """Of any kind that succeeds, else what the kinds are refused with where they agree."""
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET)
    found = {syscall(53, 199, number, kind, 0, (ctypes.c_int * 2)()) for kind in kinds}
    return "allowed" if "allowed" in found else " ".join(sorted(found))


def setuid_program():
    found = [p for p in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/newgrp", "/usr/bin/mount") if os.path.exists(p)]
    uids = set()
    for path in found:
        one = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with open(f"/proc/{one.pid}/status") as file:
            text = file.read()
        uids.add(text.split("Uid:")[1].split()[1])
        one.kill()
        one.wait()
    return sorted(uids) or [str(os.getuid())]


def fills_tmp():
    with open("/tmp/big", "wb") as file:
        done = subprocess.run(["head", "-c", "400M", "/dev/zero"], stdout=file, stderr=subprocess.PIPE, check=False)
    return done.stderr.decode()


def adds_route():
    return subprocess.run(["ip", "route", "add", "default", "dev", "eth0"], capture_output=True, check=False).returncode


def connects_abstract(name):
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.connect("\0" + name)
        return "allowed"
    except OSError as error:
        return errno.errorcode[error.errno]


def resolves(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return "unknown"


def changes(path):
    """Its mode, its times and its attributes."""
    tried = {
        "mode": lambda: os.chmod(path, 0o6777),
        "times": lambda: os.utime(path, (0, 0)),
        "attributes": lambda: os.setxattr(path, "user.mine", b"x"),
        "owner": lambda: os.chown(path, os.getuid(), os.getgid()),
    }
    return {what: attempted(one) for what, one in tried.items()}


def attempted(one):
    try:
        one()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "allowed"


def fills_log():
    """Takes room on the host's disk by what it may write to: its own output."""
    room, most = 1 << 31, 64
    log = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_APPEND)
    found = {
        "fallocate": attempted(lambda: libc_says(libc.fallocate64(1, 1, ctypes.c_long(0), ctypes.c_long(room)))),
        "truncate": attempted(lambda: os.ftruncate(1, room)),
        "write": attempted(lambda: [os.write(log, b"x" * (1 << 23)) for _ in range(most)]),
    }
    os.ftruncate(1, 0)
    return found


def libc_says(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), "")


ATTACKS = {
    "status": status,
    "keeper": lambda: status(1),
    "processes": lambda: sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
    "files": lambda: {p: os.path.exists(p) for p in sys.argv[2:]},
    "listing": lambda: {path: sorted(os.listdir(path)) for path in sys.argv[2:]},
    "writes": lambda: {path: opens(path, "w") for path in sys.argv[2:]},
    "reads": lambda: {path: opens(path) for path in sys.argv[2:]},
    "tmp": lambda: opens("/tmp/mine", "w") + " " + opens("/dev/shm/mine", "w"),
    "tmp_size": fills_tmp,
    "log_size": fills_log,
    "changes": lambda: {path: changes(path) for path in sys.argv[2:]},
    "mount": lambda: {
        "mount": call(libc.mount, b"none", b"/tmp", b"tmpfs", 0, None),
        "umount": call(libc.umount2, b"/tmp", 2),
        "chroot": call(libc.chroot, b"/tmp"),
        "pivot_root": syscall(155, 41, b"/", b"/tmp"),
        "open_tree": syscall(428, 428, -100, b"/", 1),
        "fsopen": syscall(430, 430, b"tmpfs", 0),
    },
    "namespaces": lambda: {
        "unshare user": call(libc.unshare, 0x10000000),
        "unshare net": call(libc.unshare, 0x40000000),
        "setns": call(libc.setns, os.open("/proc/self/ns/net", os.O_RDONLY), 0),
        "clone user": syscall(56, 220, 0x10000000 | 17, 0, 0, 0, 0),
        "clone3": syscall(435, 435, 0, 0),
    },
    "kernel": lambda: {
        "ptrace": call(libc.ptrace, 0, 0, 0, 0),
        "process_vm_readv": syscall(310, 270, 1, 0, 0, 0, 0, 0),
        "pidfd_getfd": syscall(438, 438, 0, 0, 0),
        "bpf": syscall(321, 280, 0, 0, 0),
        "perf": syscall(298, 241, 0, 0, 0, 0, 0),
        "keyctl": syscall(250, 219, 0, 0),
        "userfaultfd": syscall(323, 282, 0),
        "io_uring": syscall(425, 425, 1, 0),
        "module": syscall(175, 105, 0, 0, 0),
        "kexec": syscall(246, 104, 0, 0, 0, 0),
        "reboot": syscall(169, 142, 0, 0, 0, 0),
        "handle": syscall(304, 265, 0, 0, 0),
        "hostname": call(libc.sethostname, b"other", 5),
        "clock": syscall(227, 112, 0, 0),
        "swap": syscall(167, 224, 0, 0),
        "tiocsti": call(libc.ioctl, 0, 0x5412, b"x"),
        "personality": call(libc.personality, 0x0400000),
        "ldt": syscall(154, 428, 1, 0, 0),
        "open_tree_attr": syscall(467, 467, -100, b"/", 1, 0, 0),
    },
    "identity": lambda: {"setuid": call(libc.setuid, 0), "setgid": call(libc.setgid, 0), "groups": os.getgroups()},
    "setuid_program": setuid_program,
    "families": lambda: {n: family(n) for n in (1, 2, 10, 17, 38, 40, 44)},
    "pairs": lambda: {n: pair(n) for n in (1, 2, 10, 15, 16, 17, 21, 29, 30, 31, 38, 40, 43, 44)},
    "connects": lambda: {target: connects(target) for target in sys.argv[2:]},
    "abstract": lambda: connects_abstract(sys.argv[2]),
    "kill": lambda: {pid: call(libc.kill, int(pid), 9) for pid in sys.argv[2:]},
    "names": lambda: {name: resolves(name) for name in sys.argv[2:]},
    "route": adds_route,
    "terminal": lambda: opens("/dev/tty", "w"),
    "devices": lambda: call(libc.mknod, b"/tmp/disk", 0o060666, os.makedev(8, 0)),
}

sys.stdout.write(json.dumps(ATTACKS[sys.argv[1]]()) + "\n")
sys.stdout.flush()
while True:
    time.sleep(1)
