"""A world for the mesh: a fabric, namespaces for instances, programs in them. All of it ends with the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from atoll.errors import AtollError
from atoll.mesh.envoy import EnvoyMesh
from atoll.model.system import (
    Call,
    Check,
    Egress,
    Gateway,
    Health,
    Resources,
    Route,
    RuntimeKind,
)
from atoll.plan.blueprint import Address, Blueprint, Instance, Outlet, Recipe, Shadow, Split, Stage, Workload
from atoll.plan.observed import MeshSeen
from atoll.values.network import PREFIX_LENGTH, fabric_address, instance_address
from atoll.values.protocols import Protocol
from ports import free_port

PROGRAMS = Path(__file__).parent / "programs"
PORT = 8080
ROOTLESS = bool(os.environ.get("ATOLL_TEST_ROOTLESS"))  # set by test_rootless.py for a run in a user namespace
DEADLINE = 20.0


def why_not() -> str:
    """Why namespaces cannot be tested here; empty when they can."""
    if sys.platform != "linux":
        return "network namespaces are a thing of Linux"
    if os.geteuid() != 0:
        return "making network namespaces needs root"
    missing = [tool for tool in ("ip", "nsenter", "unshare", "umount") if shutil.which(tool) is None]
    return f"{missing[0]} is not on this host" if missing else ""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.linux)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


@dataclass
class World:
    """Builds blueprints step by step; every `publish` is the next generation."""

    root: Path
    sandboxed: bool = True
    gateway: Gateway = field(default_factory=lambda: Gateway(free_port()))
    generation: int = 0
    workloads: dict[str, Workload] = field(default_factory=dict)
    healths: dict[str, Health] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    namespaces: list[Path] = field(default_factory=list)
    serial: int = 0
    mesh: EnvoyMesh | None = None
    apps: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    published: list[Blueprint] = field(default_factory=list)

    @property
    def fabric(self) -> Path:
        return self.root / "fabric"

    # --- places and programs ------------------------------------------------------------------------------------

    def namespace(self, path: Path) -> Path:
        path.touch()
        self.namespaces.append(path)
        run("unshare", f"--net={path}", "ip", "link", "set", "lo", "up")
        return path

    def link(self, path: Path, number: int) -> None:
        enter = ("nsenter", f"--net={self.fabric}", "ip")
        run(*enter, "link", "add", f"v{number}", "type", "veth", "peer", "name", f"p{number}")
        run(*enter, "address", "add", f"{fabric_address(number)}/{PREFIX_LENGTH}", "dev", f"v{number}")
        run(*enter, "link", "set", f"v{number}", "up")
        run(*enter, "link", "set", f"p{number}", "netns", str(path))
        inside = ("nsenter", f"--net={path}", "ip")
        run(*inside, "address", "add", f"{instance_address(number)}/{PREFIX_LENGTH}", "dev", f"p{number}")
        run(*inside, "link", "set", f"p{number}", "up")

    def delete(self, path: Path) -> None:
        run("umount", str(path))
        path.unlink()
        self.namespaces.remove(path)

    def start(self, *command: str, netns: str | None = None) -> subprocess.Popen[str]:
        enter = ["nsenter", f"--net={netns}", "--"] if netns else []
        process = subprocess.Popen([*enter, *command], stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    # --- blueprints ---------------------------------------------------------------------------------------------

    def service(
        self,
        name: str,
        *,
        instances: int = 1,
        kind: str | None = "http",
        routes: tuple[Route, ...] = (),
        calls: tuple[Call, ...] = (),
        egress: tuple[Egress, ...] = (),
        health: Health | None = None,
        protocol: Protocol = Protocol.AUTO,
    ) -> Workload:
        health = health or Health(ready=Check(interval=0.2, timeout=0.5))
        runtime = RuntimeKind.SANDBOX if self.sandboxed else RuntimeKind.PROCESS
        self.workloads[name] = Workload(name, runtime, (), routes, calls, egress, health.ready, protocol)
        self.healths[name] = health
        for _ in range(instances):
            self.add(name, kind=kind)
        return self.workloads[name]

    def add(self, service: str, stage: Stage = Stage.SERVE, kind: str | None = "http", release: int = 1) -> Instance:
        """One more instance, and (unless *kind* is None) a program in its place."""
        self.serial += 1
        workload = self.workloads[service]
        name = f"{service}-r{release}-{self.serial}"
        recipe = Recipe(
            service, release, "artifact", ("app",), (), workload.runtime, Resources(), self.healths[service], 10, 10
        )
        netns: str | None = None
        if self.sandboxed:
            path = self.namespace(self.root / name)
            self.link(path, self.serial)
            netns = str(path)
            address = Address(instance_address(self.serial), PORT)
            outlets: tuple[Outlet, ...] = (Outlet(Address("127.0.0.1", 80), netns=netns),)
        else:
            address = Address("127.0.0.1", free_port())
            outlets = tuple(Outlet(Address("127.0.0.1", free_port()), c.service) for c in workload.calls)
        instance = Instance(name, recipe, self.serial, self.serial, address, outlets, (), stage, 0.0)
        if kind is not None:
            program = str(PROGRAMS / "app.py")
            arguments = (kind, name, address.ip, str(address.port))
            self.apps[name] = self.start(sys.executable, program, *arguments, netns=netns)
            self._await_port(netns, address)
        self.workloads[service] = replace(workload, instances=(*workload.instances, instance))
        return instance

    def _await_port(self, netns: str | None, address: Address) -> None:
        code = (
            "import socket,sys,time\nend=time.time()+15\nwhile True:\n"
            "  try: socket.create_connection((sys.argv[1],int(sys.argv[2])),1).close(); break\n"
            "  except OSError:\n    assert time.time()<end; time.sleep(0.02)"
        )
        enter = ["nsenter", f"--net={netns}", "--"] if netns else []
        run(*enter, sys.executable, "-c", code, address.ip, str(address.port))

    def stage(self, instance: Instance, stage: Stage | None) -> None:
        """Change an instance's stage; None takes it out."""
        service = instance.recipe.service
        old = self.workloads[service]
        new = [replace(i, stage=stage) if i.name == instance.name and stage else i for i in old.instances]
        self.workloads[service] = replace(
            old, instances=tuple(i for i in new if stage is not None or i.name != instance.name)
        )

    def split(self, service: str, split: Split | None) -> None:
        """Put two releases side by side."""
        if split is not None:
            split = replace(split, check=self.healths[service].ready)
        self.workloads[service] = replace(self.workloads[service], split=split)

    def shadow(self, service: str, shadow: Shadow | None, guarded: tuple[int, ...] = ()) -> None:
        """Let the next release answer copies only, or let that be over; these may change nothing all the same."""
        held = (shadow.release,) if shadow is not None else guarded
        self.workloads[service] = replace(self.workloads[service], shadow=shadow, guarded=held)

    def instances(self, service: str) -> tuple[Instance, ...]:
        return self.workloads[service].instances

    def blueprint(self) -> Blueprint:
        self.generation += 1
        return Blueprint("test", self.generation, self.gateway, dict(self.workloads))

    # --- the mesh -----------------------------------------------------------------------------------------------

    def new_mesh(self) -> EnvoyMesh:
        fabric = str(self.fabric) if self.sandboxed else None
        return EnvoyMesh(self.root, self.root, fabric, rootless=ROOTLESS, workers=2)

    async def publish(self) -> MeshSeen:
        """Publish and wait until everything is accepted."""
        assert self.mesh is not None
        blueprint = self.blueprint()
        self.published.append(blueprint)
        await self.mesh.publish(blueprint)
        return await self.accepted()

    async def seen(self) -> MeshSeen | None:
        assert self.mesh is not None
        try:
            return await self.mesh.observe()
        except AtollError:
            return None

    async def accepted(self) -> MeshSeen:
        """Wait until the proxies have taken the latest blueprint."""
        wanted = {i.name: i.stage for w in self.workloads.values() for i in w.instances if i.stage is not Stage.START}
        outlets = {i.name for w in self.workloads.values() for i in w.instances if i.outlets}

        def is_there(seen: MeshSeen) -> bool:
            taken = all(seen.accepted.get(name) == stage for name, stage in wanted.items())
            return seen.generation == self.generation and taken and outlets == set(seen.outlets)

        return await self.wait_seen(is_there, "the proxies accept the blueprint")

    async def wait_seen(self, look: Callable[[MeshSeen], bool], what: str, deadline: float = DEADLINE) -> MeshSeen:
        end = time.monotonic() + deadline
        while True:
            seen = await self.seen()
            if seen is not None and look(seen):
                return seen
            assert time.monotonic() < end, f"not within {deadline:g} s: {what}; {seen}"
            await asyncio.sleep(0.02)

    async def until(self, look: Callable[[], Awaitable[object]], what: str, deadline: float = DEADLINE) -> None:
        """Wait until *look* gives something true."""
        end = time.monotonic() + deadline
        while True:
            if await look():
                return
            assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
            await asyncio.sleep(0.02)

    # --- requests -----------------------------------------------------------------------------------------------

    async def ask(
        self,
        where: str,
        *,
        caller: Instance | None = None,
        method: str = "GET",
        headers: tuple[str, ...] = (),
        **options: str,
    ) -> Answer:
        """A request by curl: from *caller*'s namespace, or from outside to the gateway."""
        command = ["curl", "-s", "-i", "--max-time", "10", "-X", method]
        for header in headers:
            command += ["-H", header]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", *([value] if value else [])]
        process = await asyncio.create_subprocess_exec(
            *_inside(caller), *command, where, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, error = await process.communicate()
        assert process.returncode == 0, f"curl {where}: {process.returncode} {error.decode()}"
        head, _, body = out.decode(errors="replace").partition("\r\n\r\n")
        lines = head.split("\r\n")
        found = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        return Answer(int(lines[0].split(" ")[1]), found, body)

    async def call(self, caller: Instance, callee: str, path: str = "/", **options: object) -> Answer:
        """A request of *caller* through its outlet: Host names the callee."""
        return await self.ask(f"http://127.0.0.1{path}", caller=caller, headers=(f"Host: {callee}",), **options)  # type: ignore[arg-type]

    async def outside(self, path: str = "/", **options: object) -> Answer:
        return await self.ask(f"http://127.0.0.1:{self.gateway.listen}{path}", **options)  # type: ignore[arg-type]

    async def reached(self, caller: Instance | None = None) -> bool:
        """Whether anything answers: a proxy that accepted its configuration need not listen yet."""
        where = f"http://127.0.0.1:{self.gateway.listen if caller is None else 80}/"
        process = await asyncio.create_subprocess_exec(*_inside(caller), "curl", "-s", "-o", os.devnull, where)
        return await process.wait() == 0

    @contextlib.asynccontextmanager
    async def load(
        self, caller: Instance | None, authority: str, *, method: str = "GET", connections: int = 8
    ) -> AsyncIterator[dict[str, object]]:
        """Requests as fast as they go while the block runs; the result is filled in at its end."""
        host, port = ("127.0.0.1", 80) if caller is not None else ("127.0.0.1", self.gateway.listen)
        netns = caller.outlets[0].netns if caller is not None else None
        arguments = (host, str(port), authority, method, str(connections))
        process = self.start(sys.executable, str(PROGRAMS / "load.py"), *arguments, netns=netns)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "running"
        result: dict[str, object] = {}
        yield result
        process.send_signal(signal.SIGTERM)
        out, _ = await asyncio.to_thread(process.communicate, timeout=20)
        result.update(json.loads(out))

    def close(self) -> None:
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        for path in self.namespaces:
            subprocess.run(["umount", str(path)], check=False, capture_output=True)
        self.mesh = None


def _inside(caller: Instance | None) -> list[str]:
    """What enters the network namespace of *caller*, if it has one of its own."""
    netns = caller.outlets[0].netns if caller is not None else None
    return ["nsenter", f"--net={netns}", "--"] if netns else []


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A directory whose path is short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="atoll-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def record_pids(root: Path) -> list[int]:
    found = []
    for path in root.glob("*.envoy.json"):
        with contextlib.suppress(ValueError, KeyError):
            found += [int(record["pid"]) for record in json.loads(path.read_text())]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def _world(root: Path, *, sandboxed: bool) -> AsyncIterator[World]:
    world = World(root, sandboxed=sandboxed)
    try:
        if sandboxed:
            world.namespace(world.fabric)
        world.mesh = world.new_mesh()
        await world.mesh.prepare(lambda: None)
        yield world
    finally:
        pids = record_pids(root)
        try:
            if world.mesh is not None:
                await world.mesh.stop()
            assert not [pid for pid in pids if alive(pid)]
        finally:
            world.close()


@pytest.fixture
async def world(short_dir: Path) -> AsyncIterator[World]:
    """Sandboxed instances."""
    async for made in _world(short_dir, sandboxed=True):
        yield made


@pytest.fixture
async def plain_world(short_dir: Path) -> AsyncIterator[World]:
    """Instances as plain processes."""
    async for made in _world(short_dir, sandboxed=False):
        yield made
