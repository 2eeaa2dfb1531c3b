"""
What the control plane's death costs: `kill -9` at random moments of a rollout under load.

    python -m benchmarks.control_plane [TIMES [SEED]]

After each kill only the control plane is started again: it has to find out by itself what was going on.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter

from benchmarks.figures import heading, single, spread
from benchmarks.running import System, running, until
from benchmarks.watching import NamedLoad

from atoll import wire
from atoll.cli.control import plain_processes, start
from atoll.client import Client
from atoll.drivers.host.proc import INSTANCE, marked
from atoll.model.load import load as load_file

TIMES = 20
SEED = 2
SERVICES = """
  web:
    source: app
    run: python3 main.py
    instances: 3
    health: /healthz
    routes: [/]
    calls: [orders]
    release: {drain: 2s, grace: 5s}
  orders:
    source: other
    run: python3 main.py
    instances: 2
    health: /healthz
"""


def deploy(system: System, version: int) -> int:
    """Ask for a release of web; the number of the change that was accepted."""
    system.source(version=str(version))
    request = wire.ApplyRequest(system.file.read_text(), system.file.name, str(system.directory), None, ("web",))
    with Client(system.places.socket) as client:
        receipt = client.deploy(request)
    assert receipt.change is not None
    return receipt.change.number


def settle(system: System, change: int) -> wire.ChangeView:
    """Wait until the change is over and all is as wanted."""
    with Client(system.places.socket) as client:
        view = list(client.wait(change))[-1]
        until(lambda: client.status().converged, seconds=60, what="all as wanted")
    return view


def alive(system: System) -> dict[str, set[int]]:
    """The processes of each instance, found without the control plane."""
    found: dict[str, set[int]] = {}
    prefix = f"{system.places.identity}/"
    for pid, marker in marked(INSTANCE).items():
        if marker.startswith(prefix):
            found.setdefault(marker.removeprefix(prefix), set()).add(pid)
    return found


def interrupted(
    system: System, version: int, moment: float, children: list[subprocess.Popen[bytes]]
) -> tuple[str, list[tuple[str, float]], float]:
    """One rollout with a kill in it: how it ended, what was restarted (with the time of the kill), seconds it took."""
    orders = {i["name"]: i["pid"] for i in system.instances("orders")}
    change = deploy(system, version)
    time.sleep(moment)
    system.kill_control_plane()
    killed, before = time.time(), alive(system)
    began = time.monotonic()
    client, process = start(system.file, processes=plain_processes(load_file(system.file)))
    children.append(process)
    with client:
        view = settle(system, change)
        status = client.status()
    took = time.monotonic() - began
    services = {s.name: s for s in status.services}
    now = {i.name: i for s in status.services for i in s.instances}
    serving = services["web"].release
    # What ran of the release that serves in the end had no reason to go; whatever is still there had none to restart.
    gone = [n for n in before if n.startswith(f"web-r{serving}-") and n not in now]
    restarted = [n for n, i in now.items() if n in before and i.pid not in before[n]]
    others = [n for n, pid in orders.items() if n not in now or now[n].pid != pid]
    return view.state, [(name, killed) for name in (*gone, *restarted, *others)], took


def main(times: int = TIMES, seed: int = SEED) -> None:
    dice = random.Random(seed)
    children: list[subprocess.Popen[bytes]] = []
    with running() as system:
        system.source("other")
        system.source(version="0")
        system.write(SERVICES)
        system.run("up", "--detach")
        began = time.monotonic()
        settle(system, deploy(system, 1))
        whole = time.monotonic() - began
        heading(f"control plane: kill -9 at {times} random moments (seed {seed}) of a rollout that takes {whole:.1f} s")
        ends: Counter[str] = Counter()
        needless: list[tuple[str, float]] = []
        took = []
        with NamedLoad(system.port, clients=6) as load:
            load.wait(100)
            for number in range(times):
                state, restarts, seconds = interrupted(system, number + 2, dice.uniform(0, whole), children)
                ends[state] += 1
                needless += restarts
                took.append(seconds)
            load.wait(100)
        with Client(system.places.socket) as client:
            events = client.events(limit=10_000)
        crashed = [e for e in events if e.kind in {"crashed", "drift", "rejected"}]
        single(f"failed requests, of {load.count}", len(load.failed), "0")
        for _, words in load.failed[:5]:
            single("  failed", words)
        single("rollouts by their end", dict(ends), "all done, or failed and rolled back")
        begun = {e.subject: e.at for e in reversed(events) if e.kind == "started"}
        halfway = [name for name, killed in needless if begun.get(name, killed) >= killed]
        single("instances restarted without need", len(needless) - len(halfway), "0")
        for name, _ in needless[:5]:
            single("  restarted" + (" (halfway)" if name in halfway else ""), name)
        single("instances caught halfway through their launch, and replaced", len(halfway))
        single("crashes, drift and refusals in the journal", len(crashed), "0")
        for event in crashed[:5]:
            single(f"  {event.subject}", event.text)
        spread("from the new control plane's start to all as wanted", took, "s")
        system.run("down")
        single("left after down", len(system.left()), "0")
        for line in system.left()[:5]:
            single("  left", line)
        for process in children:
            process.wait(10)


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
