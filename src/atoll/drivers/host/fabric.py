"""
The anchor and the fabric.

The anchor is one tiny process per system that holds its namespaces: its network namespace is the fabric (no way
out), its mount namespace is where the control plane, the proxies and the instances' network namespaces live, so that
no mount of ours is ever seen on the host and the kernel clears everything away with the last process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from atoll.drivers.host.commands import run
from atoll.drivers.host.proc import MARKER, Process, process
from atoll.errors import Unavailable
from atoll.values.network import PREFIX_LENGTH, fabric_address, instance_address

PATIENCE = 5.0
_SCRIPT = "ip link set lo up && echo 0 > /proc/sys/net/ipv4/ip_forward && touch {ready} && exec sleep infinity"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The process that holds the namespaces; `netns` is the path of the fabric's network namespace."""

    pid: int
    start_time: int
    rootless: bool

    @property
    def netns(self) -> str:
        """The fabric."""
        return f"/proc/{self.pid}/ns/net"

    def process(self) -> Process:
        """The anchor's process."""
        return Process(self.pid, self.start_time)


def find_anchor(run_dir: Path) -> Anchor | None:
    """The anchor that runs already."""
    try:
        anchor = Anchor(**json.loads((run_dir / "anchor.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return anchor if anchor.process().alive() else None


def ensure_anchor(run_dir: Path, *, rootless: bool) -> Anchor:
    """
    The anchor of this run directory, started where there is none.

    Raises `errors.Unavailable` with the reason where this host does not let us.
    """
    found = find_anchor(run_dir)
    if found is not None:
        return found
    ready = run_dir / "anchor-ready"
    ready.unlink(missing_ok=True)
    command = ["unshare", *(["--user", "--map-root-user"] if rootless else []), "--mount", "--net"]
    command += ["--propagation", "slave", "--", "/bin/sh", "-c", _SCRIPT.format(ready=ready)]
    log = run_dir / "anchor.txt"
    with log.open("wb") as output:
        # A session of its own: the anchor must survive the control plane.
        child = subprocess.Popen(  # the anchor is meant to outlive us
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", MARKER: f"{run_dir.name}/anchor"},
        )
    deadline = time.monotonic() + PATIENCE
    while not ready.exists():
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()
            words = log.read_text(errors="replace").strip()
            raise Unavailable(
                f"this host does not let us make namespaces: {words or 'no answer'}",
                hint="see `atoll doctor`; without sandboxes, set `runtime: process`",
            )
        time.sleep(0.005)
    identity = process(child.pid)
    if identity is None:
        raise Unavailable("the anchor ended at once", hint="see `atoll doctor`")
    anchor = Anchor(identity.pid, identity.start_time, rootless)
    (run_dir / "anchor.json").write_text(json.dumps(asdict(anchor)))
    return anchor


def enter(anchor: Anchor) -> list[str]:
    """The command that runs what follows it inside the anchor's mount (and user) namespace, on the host's network."""
    user = ["--user", "--preserve-credentials"] if anchor.rootless else []
    return ["nsenter", "--target", str(anchor.pid), "--mount", *user, "--"]


def release(run_dir: Path) -> None:
    """End the anchor; the kernel then takes away what nobody uses any more."""
    anchor = find_anchor(run_dir)
    if anchor is not None:
        anchor.process().signal(signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(anchor.pid, 0)


async def create_link(fabric: str, netns: str, network: int) -> None:
    """Make the namespace file *netns* with a link to the fabric. Safe to run again after it was cut short."""
    path = Path(netns)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    await remove_link(netns)
    path.touch(mode=0o600)
    await run(["unshare", f"--net={netns}", "true"])
    side = f"v{network}"
    inside = (
        f"link add {side} type veth peer name eth0 netns {netns}\n"
        f"addr add {fabric_address(network)}/{PREFIX_LENGTH} dev {side}\n"
        f"link set {side} up\n"
    )
    await run(["nsenter", f"--net={fabric}", "ip", "-batch", "-"], text=inside)
    outside = f"link set lo up\naddr add {instance_address(network)}/{PREFIX_LENGTH} dev eth0\nlink set eth0 up\n"
    await run(["nsenter", f"--net={netns}", "ip", "-batch", "-"], text=outside)


async def remove_link(netns: str) -> None:
    """Take the namespace file away; the namespace and its link end with its last user."""
    path = Path(netns)
    if path.exists():
        with suppress(Exception):  # not mounted: cut short before it was
            await run(["umount", "--lazy", netns])
        path.unlink(missing_ok=True)
