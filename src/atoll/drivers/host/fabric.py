"""
The fabric: one network namespace in which all instances of a system are reached, and the links into it.

A tiny process, the anchor, holds the fabric and a private mount namespace. The control plane and the proxies live in
that mount namespace (`enter`), so that the files which name the instances' namespaces are never seen on the host, and
everything is gone with the last process. Without root the anchor also holds a user namespace, in which all of it is
allowed. `ip_forward` is off in the fabric and an instance has no route but its link: instances reach nobody.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from atoll.drivers.host import proc
from atoll.drivers.host.commands import PATH, run
from atoll.drivers.host.files import write_atomically
from atoll.drivers.host.syscalls import unmount
from atoll.errors import Failed, Unavailable
from atoll.values.network import PREFIX_LENGTH, fabric_address, instance_address

ANCHOR = "ATOLL_ANCHOR"
"""The variable that marks an anchor: the run directory it belongs to."""

RECORD = "anchor.json"
"""The file in the run directory of a system with sandboxes that tells of its anchor."""
NAME = "fabric"
"""The file in `<run directory>/netns` that names the fabric."""

# A new namespace takes over what the host forwards (net.core.devconf_inherit_init_net), so it is said here. The files
# cannot be written where /proc/sys is read-only (containers), which is fine as long as forwarding is off there.
_NEW = """
set -e
ip link set lo up
echo 0 2>/dev/null >/proc/sys/net/ipv4/ip_forward || test "$(cat /proc/sys/net/ipv4/ip_forward)" = 0
: >"$1"
mount --bind /proc/self/ns/net "$1"
echo ready
exec sleep infinity >/dev/null 2>&1
"""
# Under its name only once it is ready: whoever sees it there, as the mesh does, opens a door on its loopback at once.
_LINK = 'ip -batch - && exec mount --bind /proc/self/ns/net "$1"'
_AGAIN = "echo ready; exec sleep infinity >/dev/null 2>&1"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The process that holds the namespaces of a system. `netns` names the fabric for whoever has entered."""

    pid: int
    start_time: int
    netns: str


@dataclass(frozen=True, slots=True)
class _Record:
    """What is remembered of an anchor: who it is, and its mount namespace in case it is killed."""

    pid: int
    start_time: int
    mounts: int


def ensure_anchor(run_dir: Path, *, rootless: bool) -> Anchor:
    """
    The anchor of the system whose run directory this is: found again, or made.

    An anchor that was killed while others still live in its namespaces is replaced by a new one in the same
    namespaces. Raises `errors.Failed` or `errors.Unavailable` where the host does not allow namespaces.
    """
    netns = run_dir / "netns" / NAME
    record = _recorded(run_dir)
    found = _found(run_dir, record)
    if found is None:
        found = _start(run_dir, _command(netns, record, rootless=rootless))
    mounts = proc.namespace(found[0], "mnt")
    if mounts is None:
        raise Failed("the anchor of the network fabric ended at once", hint="see `atoll doctor`")
    write_atomically(run_dir / RECORD, msgspec.json.encode(_Record(*found, mounts)))
    return Anchor(*found, str(netns))


def enter(anchor: Anchor, *, rootless: bool) -> list[str]:
    """The command prefix that runs a program in the anchor's mount (and user) namespace, on the host's network."""
    user = ["--user", "--preserve-credentials"] if rootless else []
    return ["nsenter", "--target", str(anchor.pid), *user, "--mount", "--"]


def release(run_dir: Path) -> None:
    """End the anchor; the namespaces go with the last process in them."""
    found = _found(run_dir, _recorded(run_dir))
    if found is not None:
        with suppress(ProcessLookupError):
            os.kill(found[0], signal.SIGKILL)
    (run_dir / RECORD).unlink(missing_ok=True)


def link(name: str, network: int, netns: str, fabric: str) -> None:
    """
    Make the namespace of the instance *name* at the path *netns*, joined to the *fabric* by link number *network*.

    Raises `errors.Failed` with the tool's words.
    """
    Path(netns).parent.mkdir(parents=True, exist_ok=True)
    Path(netns).touch()
    inside = (
        "link set lo up\n"
        f"link add eth0 type veth peer name v{network} netns {fabric}\n"
        "link set eth0 addrgenmode none\n"
        f"addr add {instance_address(network)}/{PREFIX_LENGTH} dev eth0\n"
        "link set eth0 up\n"
    )
    outside = (
        f"link set v{network} addrgenmode none\n"
        f"addr add {fabric_address(network)}/{PREFIX_LENGTH} dev v{network}\n"
        f"link set v{network} up\n"
    )
    what = f"the network namespace of {name} could not be made"
    run(["unshare", "--net", "--", "sh", "-c", _LINK, "sh", netns], what=what, given=inside)
    run(["nsenter", f"--net={fabric}", "--", "ip", "-batch", "-"], what=what, given=outside)


def unlink(network: int, netns: str, fabric: str) -> None:
    """Remove an instance's link and namespace, as far as they are there."""
    with suppress(Failed):  # it is gone with its namespace
        command = ["nsenter", f"--net={fabric}", "--", "ip", "link", "del", f"v{network}"]
        run(command, what="the link could not be removed")
    discard(netns)


def cut(netns: str) -> None:
    """Remove a namespace and the link in it, as far as they are there, where the number of the link is not known."""
    with suppress(Failed):  # there is none, or no namespace
        # The kernel would take it away, too, but some time after the namespace, and its number may be wanted by then.
        run(["nsenter", f"--net={netns}", "--", "ip", "link", "del", "eth0"], what="the link could not be removed")
    discard(netns)


def discard(netns: str) -> None:
    """Remove the name of a namespace, as far as it is there."""
    with suppress(OSError):
        unmount(netns)
    Path(netns).unlink(missing_ok=True)


def _recorded(run_dir: Path) -> _Record | None:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((run_dir / RECORD).read_bytes(), type=_Record)
    return None


def _found(run_dir: Path, record: _Record | None) -> tuple[int, int] | None:
    if (
        record is not None
        and proc.alive(record.pid, record.start_time)
        and proc.marker(record.pid, ANCHOR) == str(run_dir)  # else the record is from before a reboot
    ):
        return record.pid, record.start_time
    for pid, value in proc.marked(ANCHOR).items():
        started = proc.start_time(pid)
        if value == str(run_dir) and started is not None and pid != os.getpid() and proc.owned(pid):
            return pid, started
    return None


def _command(netns: Path, record: _Record | None, *, rootless: bool) -> list[str]:
    survivor = _survivor(record)
    if survivor is not None:
        user = ["--user", "--preserve-credentials"] if rootless else []
        inside = ["nsenter", "--target", str(survivor), *user, "--mount", "--"]
        return [*inside, "nsenter", f"--net={netns}", "--", "sh", "-c", _AGAIN]
    user = ["--user", "--map-root-user"] if rootless else []
    namespaces = ["--mount", "--propagation", "slave", "--net"]
    return ["unshare", *user, *namespaces, "--", "sh", "-c", _NEW, "sh", str(netns)]


def _survivor(record: _Record | None) -> int | None:
    if record is None:
        return None
    found = (pid for pid in proc.pids() if proc.namespace(pid, "mnt") == record.mounts)
    return next((pid for pid in found if proc.owned(pid)), None)


def _start(run_dir: Path, command: list[str]) -> tuple[int, int]:
    (run_dir / "netns").mkdir(parents=True, exist_ok=True)
    try:
        process = subprocess.Popen(
            command,
            cwd="/",
            env={"PATH": PATH, ANCHOR: str(run_dir)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise Unavailable(f"there is no `{command[0]}` on this host", hint="see `atoll doctor`") from error
    assert process.stdout is not None  # noqa: S101 - asked for above
    with process.stdout as output:
        said = output.read().decode(errors="replace").strip()
    started = proc.start_time(process.pid)
    if not said.endswith("ready") or started is None:
        process.wait()
        raise Failed(f"the network fabric could not be made: {said}", hint="see `atoll doctor`")
    process.returncode = 0  # it outlives us and is nobody's child: nothing to wait for
    return process.pid, started
