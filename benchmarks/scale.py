"""
What a turn of the engine costs at 1,000 services x 5 instances, and how its memory grows.

    python benchmarks/scale.py            every figure, median and spread over 20 runs
    python benchmarks/scale.py memory N   one process: build a system of N services, print its memory in MB
"""

from __future__ import annotations

import gc
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

from atoll.engine.observing import _grouped
from atoll.model.system import Call, Gateway, Service, System
from atoll.plan.blueprint import Blueprint, Stage
from atoll.plan.decisions import Pin
from atoll.plan.design import Host, design, wake_at
from atoll.plan.diff import diff
from atoll.plan.happenings import design_happenings, seen_happenings
from atoll.plan.observed import MeshSeen, Observed, Phase, Readiness, Seen
from atoll.plan.recipes import recipe
from atoll.plan.violations import violations
from atoll.policies.rolling import judge
from atoll.store.store import Store

HOST = Host("/run/atoll/bench")
RUNS = 20
INSTANCES = 5


def system(services: int) -> tuple[System, dict[str, Pin]]:
    names = [f"service-{n}" for n in range(services)]
    declared = {
        name: Service(
            name, source=name, instances=INSTANCES, calls=tuple(Call(names[(n + k) % services]) for k in (1, 2, 3))
        )
        for n, name in enumerate(names)
    }
    whole = System("bench", Gateway(), declared, "")
    pins = {}
    for name, service in declared.items():
        one = recipe(whole, service, artifact=f"{name}-v1", argv=("run",))
        pins[name] = Pin(stable=replace(one, release=1))
    return whole, pins


def observed(blueprint: Blueprint, at: float) -> Observed:
    """Everything runs, is ready and is known to the proxies in the stage that the blueprint says."""
    instances: dict[str, dict[str, Seen]] = {}
    readiness: dict[str, dict[str, Readiness]] = {}
    accepted: dict[str, str] = {}
    for service, workload in blueprint.workloads.items():
        instances[service] = {i.name: Seen(i.name, service, Phase.RUNNING, i.serial, at) for i in workload.instances}
        readiness[service] = {i.name: Readiness(True, at) for i in workload.instances}
        accepted |= {i.name: i.stage for i in workload.instances if i.stage in {Stage.SERVE, Stage.DRAIN}}
    mesh = MeshSeen(blueprint.generation, accepted, frozenset(n for s in instances.values() for n in s))
    return Observed(at, instances, readiness, mesh, answered=frozenset({"runtime", "probes", "mesh"}))


def at_rest(services: int) -> tuple[System, dict[str, Pin], Blueprint, Observed]:
    whole, pins = system(services)
    blueprint = design(whole, pins, Observed(1.0, answered=frozenset({"runtime"})), empty(), HOST)
    blueprint = design(whole, pins, observed(blueprint, 2.0), blueprint, HOST)
    seen = observed(blueprint, 3.0)
    blueprint = design(whole, pins, seen, blueprint, HOST)
    assert design(whole, pins, seen, blueprint, HOST) is blueprint
    assert not diff(blueprint, seen)
    return whole, pins, blueprint, seen


def empty() -> Blueprint:
    return Blueprint("", 0, Gateway(), {})


def measure(what: str, target: float | None, act: Callable[[], object]) -> None:
    times = []
    for _ in range(RUNS):
        gc.collect()
        begin = time.perf_counter()
        act()
        times.append((time.perf_counter() - begin) * 1000)
    limit = f"target {target:g}" if target is not None else ""
    print(f"{what:58} {median(times):9.2f} ms   {min(times):8.2f} to {max(times):8.2f}   {limit}")


def turns(services: int) -> None:
    print(f"{services} services x {INSTANCES} instances, median and range of {RUNS} runs")
    whole, pins, blueprint, seen = at_rest(services)
    first = Observed(1.0, answered=frozenset({"runtime"}))

    def full() -> None:
        target = design(whole, pins, first, empty(), HOST)
        assert not list(violations(target))
        diff(target, first)

    measure("full design, violations and diff (first apply)", 500, full)
    raw = {n: s for group in seen.instances.values() for n, s in group.items()}
    measure("group what the runtimes report", None, lambda: _grouped(dict(raw), seen.instances))
    measure("happenings of a look without news", None, lambda: list(seen_happenings(seen, seen, blueprint)))
    measure("design and diff of a system at rest", 50, lambda: diff(design(whole, pins, seen, blueprint, HOST), seen))
    measure("turn after one crash", 50, lambda: crash_turn(whole, pins, blueprint, seen))
    again = system(services)
    measure("turn after an apply: every declaration is a new object", 500, lambda: turn(*again, blueprint, seen, seen))
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory, "state.db"))
        measure("save a whole blueprint", None, lambda: store.save(blueprint, empty()))
        victim = turn(whole, pins, blueprint, seen, crashed(seen))
        measure("save one changed workload", None, lambda: store.save(victim, blueprint))
        measure("load a whole blueprint", None, store.blueprint)
        store.close()


def crashed(seen: Observed) -> Observed:
    service = next(iter(seen.instances))
    name = next(iter(seen.instances[service]))
    dead = replace(seen.instances[service][name], phase=Phase.EXITED)
    raw = {n: s for group in seen.instances.values() for n, s in group.items()} | {name: dead}
    return replace(seen, at=seen.at + 1, instances=_grouped(raw, seen.instances))


def crash_turn(whole: System, pins: dict[str, Pin], blueprint: Blueprint, seen: Observed) -> None:
    assert turn(whole, pins, blueprint, seen, crashed(seen)).generation == blueprint.generation + 1


def turn(whole: System, pins: dict[str, Pin], blueprint: Blueprint, before: Observed, after: Observed) -> Blueprint:
    """All that the engine computes in one turn, in its order."""
    list(seen_happenings(before, after, blueprint))
    for name, pin in pins.items():
        if pin.target is not None:
            judge(whole.services[name], pin, blueprint.workloads.get(name), after)
    target = design(whole, pins, after, blueprint, HOST)
    if target.generation != blueprint.generation:
        assert not list(violations(target))
        list(design_happenings(blueprint, target))
    diff(target, after)
    wake_at(target, after)
    return target


def memory(services: int) -> None:
    kept = at_rest(services)
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory, "state.db"))
        store.save(kept[2], empty())
        store.close()
        again = Store(Path(directory, "state.db"))
        loaded = again.blueprint()
        again.close()
    assert loaded == kept[2]
    status = Path("/proc/self/status").read_text()  # ru_maxrss would begin with the parent's
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def growth() -> None:
    print("peak memory of a process that holds the whole system, MB (median of 3)")
    for services in (0, 250, 500, 1000, 2000):
        command = [sys.executable, __file__, "memory", str(services)]
        sizes = [float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
        print(f"  {services:5} services {median(sizes):8.1f}   {min(sizes):.1f} to {max(sizes):.1f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        memory(int(sys.argv[2]))
    else:
        turns(1000)
        growth()
