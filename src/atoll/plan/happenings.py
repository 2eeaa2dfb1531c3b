"""What changed between two looks at the world, and between two targets, told in sentences for the journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from atoll.plan.blueprint import Blueprint, Instance, Stage
from atoll.plan.observed import Exit, Observed, Phase, Seen, describe, describe_failure, describe_killed


@dataclass(frozen=True, slots=True)
class Happening:
    """A fact that happened. `level` is info, warning or error; `text` is a sentence about `subject`."""

    level: str
    kind: str
    service: str
    subject: str
    text: str


def seen_happenings(before: Observed, after: Observed, blueprint: Blueprint) -> Iterator[Happening]:
    """What the world did between two looks. *blueprint* is the target that was in force."""
    stages = {i.name: i.stage for w in blueprint.workloads.values() for i in w.instances}
    known = "runtime" in before.answered  # else this is the first look: what runs was there before, and was told
    for service in dict.fromkeys((*before.instances, *after.instances)):
        old, new = before.instances.get(service, {}), after.instances.get(service, {})
        if old is new:
            continue
        for name, seen in new.items():
            if known or name in old or name in stages:
                yield from _instance(service, old.get(name), seen, stages.get(name), known=known)
        if "runtime" in after.answered:
            yield from _vanished(service, old, new, stages)
    yield from _mesh(before, after)


def _instance(service: str, old: Seen | None, new: Seen, stage: Stage | None, *, known: bool) -> Iterator[Happening]:
    begun = old.phase is Phase.CREATED if old is not None else known
    if begun and new.phase is Phase.RUNNING:
        yield Happening("info", "started", service, new.name, f"runs as process {new.pid}")
    if new.altered and (old is None or old.altered != new.altered):
        yield Happening("warning", "drift", service, new.name, f"was altered: {new.altered}")
    lost = new.killed - (old.killed if old is not None else 0)
    if lost > 0 and (old is not None or known):
        yield Happening("warning", "memory", service, new.name, f"runs on, but {describe_killed(lost)}")
    if new.phase is Phase.EXITED and (old is None or old.phase is not Phase.EXITED):
        yield _exited(service, new, stage)


def _exited(service: str, seen: Seen, stage: Stage | None) -> Happening:
    exit_ = seen.exit or Exit(0.0)
    if stage in {Stage.STOP, Stage.DRAIN} or stage is None:
        return Happening("info", "stopped", service, seen.name, f"has ended: {describe(exit_)}")
    log = "".join(f"\n    {line}" for line in exit_.log[-10:])
    return Happening("error", "crashed", service, seen.name, f"has failed: {describe_failure(exit_)}{log}")


def _vanished(
    service: str, old: Mapping[str, Seen], new: Mapping[str, Seen], stages: Mapping[str, Stage]
) -> Iterator[Happening]:
    for name, seen in old.items():
        if name in new:
            continue
        if seen.phase is Phase.RUNNING and stages.get(name) in {Stage.START, Stage.SERVE}:
            yield Happening("warning", "drift", service, name, "vanished: somebody removed it from the outside")


def _mesh(before: Observed, after: Observed) -> Iterator[Happening]:
    if after.mesh.rejected and after.mesh.rejected != before.mesh.rejected:
        yield Happening("error", "rejected", "", "mesh", f"Envoy refused a configuration: {after.mesh.rejected}")
    for proxy, end in after.ends.items():
        if end != before.ends.get(proxy):
            yield Happening("warning", "mesh", "", "mesh", end)
    if "mesh" in before.answered and "mesh" not in after.answered:
        yield Happening("warning", "mesh", "", "mesh", after.away or "a proxy does not answer")
    if "mesh" in after.answered and "mesh" not in before.answered and before.at:
        yield Happening("info", "mesh", "", "mesh", "the proxies answer")


def design_happenings(before: Blueprint, after: Blueprint) -> Iterator[Happening]:
    """What the new target decides about instances: who gets traffic, who loses it, who has to go, and why."""
    for service, workload in after.workloads.items():
        was = before.workloads.get(service)
        if was is workload:
            continue
        old = {i.name: i for i in was.instances} if was is not None else {}
        for instance in workload.instances:
            yield from _stage(service, old.get(instance.name), instance)


def _stage(service: str, old: Instance | None, new: Instance) -> Iterator[Happening]:
    if old is None:
        if new.crashes > 1:
            wait = new.not_before - new.since
            text = f"waits {wait:.1f} s before it runs, as {new.crashes} in a row failed: {new.reason}"
            yield Happening("warning", "back-off", service, new.name, text)
        return
    if old.stage is new.stage:
        return
    match new.stage:
        case Stage.SERVE:
            yield Happening("info", "ready", service, new.name, "is ready and gets traffic")
        case Stage.START:
            yield Happening("warning", "unready", service, new.name, f"gets no traffic: {new.reason}")
        case Stage.DRAIN:
            yield Happening("info", "draining", service, new.name, f"gets nothing new: {new.reason}")
        case Stage.STOP:
            level = "info" if old.stage is Stage.DRAIN else "warning"
            yield Happening(level, "stopping", service, new.name, f"is told to end: {new.reason}")
