"""
Real places for tests of the real runtimes: a fabric and directories of their own, gone afterwards with all in them.

The test process gets a mount namespace of its own, so that no mount of a test is ever seen on the host.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from atoll.drivers.host import cgroups, fabric, proc, syscalls
from atoll.drivers.host.commands import run
from atoll.drivers.runtimes.process import ProcessRuntime
from atoll.drivers.runtimes.sandbox import SandboxRuntime
from atoll.errors import AtollError
from atoll.model.system import Health, Resources, RuntimeKind
from atoll.plan.blueprint import Address, Instance, Outlet, Recipe, Stage
from atoll.ports import Artifact
from atoll.values.network import instance_address

PATIENCE = 10.0
_private = threading.local()


@dataclass(frozen=True, slots=True)
class Ground:
    """One system's directories; `fabric` is empty where there are only plain processes."""

    base: Path
    system: str
    fabric: str = ""

    @property
    def run_dir(self) -> Path:
        """Where namespaces and records are kept."""
        return self.base / "run"

    @property
    def log_dir(self) -> Path:
        """Where instances write."""
        return self.base / "logs"

    def sandboxes(self) -> SandboxRuntime:
        """A sandbox runtime on this ground; each call is another control plane."""
        directories = {"run_dir": self.run_dir, "log_dir": self.log_dir}
        return SandboxRuntime(**directories, system=self.system, fabric=self.fabric, rootless=False)

    def processes(self) -> ProcessRuntime:
        """A process runtime on this ground."""
        return ProcessRuntime(run_dir=self.run_dir, log_dir=self.log_dir, system=self.system)

    def artifact(self, program: str) -> Artifact:
        """A Python program as an artifact, runnable as `python main.py`."""
        app = self.base / "artifacts" / uuid.uuid4().hex / "app"
        app.mkdir(parents=True)
        (app / "main.py").write_text(program)
        prefix = str(Path(sys.base_prefix).resolve())
        mounts = () if prefix.startswith("/usr") else (prefix,)
        path = f"{prefix}/bin:/usr/local/bin:/usr/bin:/bin"
        return Artifact(app.parent.name, str(app), "python", ("python3", "main.py"), (("PATH", path),), mounts)

    def instance(
        self,
        artifact: Artifact,
        *arguments: str,
        service: str = "orders",
        number: int = 1,
        resources: Resources = Resources(),  # noqa: B008 - frozen
        hosts: tuple[str, ...] = (),
        env: tuple[tuple[str, str], ...] = (),
        argv: tuple[str, ...] = (),
    ) -> Instance:
        """One run of that program."""
        name = f"{service}-r1-{number}"
        kind = RuntimeKind.SANDBOX if self.fabric else RuntimeKind.PROCESS
        recipe = Recipe(
            service=service,
            release=1,
            artifact=artifact.digest,
            argv=argv or (*artifact.argv, *arguments),
            env=env,
            runtime=kind,
            resources=resources,
            health=Health(),
            drain=1.0,
            grace=5.0,
            hosts=hosts,
        )
        outlet = Outlet(Address("127.0.0.1", 80), netns=str(self.run_dir / "netns" / name))
        return Instance(
            name=name,
            recipe=recipe,
            serial=number,
            network=number if self.fabric else 0,
            address=Address(instance_address(number), 8080) if self.fabric else Address("127.0.0.1", _free_port()),
            outlets=(outlet,) if self.fabric else (),
            env=(("INSTANCE_SAYS", "hello"),),
            stage=Stage.START,
            since=0.0,
        )


def why_no_sandboxes() -> str:
    """Why this host cannot run the tests that need sandboxes; empty where it can."""
    if sys.platform != "linux":
        return "this is not Linux"
    if os.geteuid() != 0:
        return "tests of sandboxes make mounts in their own process, which needs root"
    missing = [name for name in ("ip", "unshare", "nsenter", "setpriv") if shutil.which(name) is None]
    return f"there is no {' and no '.join(missing)} on this host" if missing else ""


@contextmanager
def process_ground() -> Iterator[Ground]:
    """A place for plain processes."""
    base = Path(tempfile.mkdtemp(prefix="atoll-test-"))
    ground = Ground(base, base.name)
    try:
        _directories(ground)
        yield ground
    finally:
        _clean(ground)
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def sandbox_ground() -> Iterator[Ground]:
    """A place for sandboxes: with a fabric of its own."""
    _own_mounts()
    base = Path(tempfile.mkdtemp(prefix="atoll-test-"))
    ground = Ground(base, base.name)
    try:
        _directories(ground)
        anchor = fabric.ensure_anchor(ground.run_dir, rootless=False)
        yield Ground(base, base.name, f"/proc/{anchor.pid}/ns/net")
    finally:
        _clean(ground)
        fabric.release(ground.run_dir)
        shutil.rmtree(base, ignore_errors=True)


def _own_mounts() -> None:
    if not getattr(_private, "done", False):
        syscalls.own_mounts()
        run(["mount", "--make-rslave", "/"], what="the mounts could not be made private")
        _private.done = True


def _directories(ground: Ground) -> None:
    ground.base.chmod(0o755)
    ground.run_dir.mkdir()
    ground.log_dir.mkdir()


def _clean(ground: Ground) -> None:
    """End everything that carries the ground's marker, and remove what it had."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and (left := _processes(ground)):
        for pid in left:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
    for path in (ground.run_dir / "netns").glob("*"):
        fabric.discard(str(path))
    tree = cgroups.host_tree()
    for name in cgroups.names(tree, ground.system):
        group = cgroups.group(tree, ground.system, name)
        group.kill()
        while time.monotonic() < until:
            with suppress(AtollError):
                group.remove()
                break
    cgroups.clear(tree, ground.system)


def _processes(ground: Ground) -> list[int]:
    return [pid for pid, marker in proc.marked(proc.INSTANCE).items() if marker.startswith(f"{ground.system}/")]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
