"""
Run sandboxes without root: makes the anchor, moves into it, and lets the intruder try each attack named.

Prints what came of it as JSON, with what the runtime itself noticed under "runtime".
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from atoll.drivers.host import bubblewrap, fabric
from atoll.drivers.probes import FabricProber
from atoll.drivers.runtimes.sandbox import SandboxRuntime
from atoll.model.system import Check, Health, Resources, RuntimeKind
from atoll.plan.blueprint import Address, Instance, Outlet, Recipe, Stage
from atoll.ports import Artifact
from atoll.values.network import instance_address

BASE = Path(sys.argv[1])
RUN, LOGS = BASE / "run", BASE / "logs"
PATIENCE = 30.0
ATTACKS = (
    ("status",),
    ("processes",),
    ("files", str(RUN), "/home", "/root", "/var", "/etc/shadow", "/sys", "/run"),
    ("writes", "/app/main.py", "/new", "/usr/new", "/etc/hosts", "/proc/sys/kernel/hostname"),
    ("tmp",),
    ("changes", "/proc/1/exe", "/proc/self/exe", "/app/main.py", "/etc/hosts"),
    ("log_size",),
    ("mount",),
    ("namespaces",),
    ("kernel",),
    ("identity",),
    ("connects", f"{instance_address(1)}:8080", "127.0.0.1:22", "192.0.2.1:80"),
)
SERVER = "import http.server as h; h.HTTPServer(('0.0.0.0', 8080), h.SimpleHTTPRequestHandler).serve_forever()"


def instance(number: int, argv: tuple[str, ...]) -> Instance:
    name = f"orders-r1-{number}"
    recipe = Recipe(
        "orders", 1, "x", argv, (), RuntimeKind.SANDBOX, Resources(memory=1 << 28, pids=50), Health(), 1.0, 1.0
    )
    outlet = Outlet(Address("127.0.0.1", 80), netns=str(RUN / "netns" / name))
    return Instance(
        name, recipe, number, number, Address(instance_address(number), 8080), (outlet,), (), Stage.START, 0.0
    )


async def run(runtime: SandboxRuntime, artifact: Artifact, one: Instance) -> None:
    await runtime.create(one, 1)
    await runtime.start(one, artifact, 1)


async def first_line(runtime: SandboxRuntime, name: str) -> str:
    until = time.monotonic() + PATIENCE
    while not (text := runtime.log(name).read_text()).endswith("\n"):
        if time.monotonic() > until:
            raise TimeoutError(text)
        await asyncio.sleep(0.01)
    return text.splitlines()[0]


async def ended(runtime: SandboxRuntime, name: str) -> object:
    await runtime.stop(name, 5.0, 1)
    until = time.monotonic() + PATIENCE
    while (exit_ := (await runtime.observe())[name].exit) is None:
        if time.monotonic() > until:
            raise TimeoutError(name)
        await asyncio.sleep(0.01)
    await runtime.remove(name, 1)
    return exit_.signal


async def main(netns: str) -> None:
    bubblewrap.bwrap = lambda: sys.argv[2]  # one that belongs to the user
    artifact = Artifact("x", str(BASE / "app"), "python", ("python3",), (("PATH", "/usr/bin:/bin"),))
    runtime = SandboxRuntime(run_dir=RUN, log_dir=LOGS, system=BASE.name, fabric=netns, rootless=True)
    await runtime.prepare(lambda: None)
    serving = instance(1, ("/usr/bin/python3", "-c", SERVER))
    await run(runtime, artifact, serving)
    prober = FabricProber(netns, runtime.listening)
    until = time.monotonic() + PATIENCE
    while said := await prober.probe(serving.address, Check(path="/")):
        if time.monotonic() > until:
            raise TimeoutError(said)
        await asyncio.sleep(0.01)
    found: dict[str, object] = {}
    for number, attack in enumerate(ATTACKS, start=2):
        intruder = instance(number, ("/usr/bin/python3", "main.py", *attack))
        await run(runtime, artifact, intruder)
        found[attack[0]] = json.loads(await first_line(runtime, intruder.name))
        await ended(runtime, intruder.name)
    found["runtime"] = {"signal": await ended(runtime, serving.name), "left": list(await runtime.observe())}
    found["runtime"] |= {
        "notes": runtime.notes(),
        "netns": [path.name for path in (RUN / "netns").iterdir()],
        "uid": os.getuid(),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    await runtime.close()


if __name__ == "__main__":
    if len(sys.argv) > 3:
        try:
            asyncio.run(main(sys.argv[3]))
        finally:
            fabric.release(RUN)
    else:
        anchor = fabric.ensure_anchor(RUN, rootless=True)
        inside = [sys.executable, __file__, *sys.argv[1:], anchor.netns]
        command = [*fabric.enter(anchor, rootless=True), *inside]
        os.execvp(command[0], command)
