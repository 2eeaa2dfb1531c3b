"""The difference between the target and what is seen, as a list: starts, then routes, then stops."""

from __future__ import annotations

from collections.abc import Iterator

from atoll.plan.actions import Action, Create, Publish, Remove, Start, Stop
from atoll.plan.blueprint import Blueprint, Instance, Stage, Workload
from atoll.plan.observed import Observed, Phase, Seen

STRAY_GRACE = 5.0


def diff(blueprint: Blueprint, observed: Observed) -> tuple[Action, ...]:
    """
    What to do now. Empty where reality is as wanted, or where the rest has to be waited for.

    Nothing is stopped or removed on the word of a source that did not answer.
    """
    if "runtime" not in observed.answered:
        return ()
    ups: list[Action] = []
    downs: list[Action] = []
    unpublished = False
    for workload in blueprint.workloads.values():
        if is_settled(workload, observed):
            continue
        seen = observed.instances.get(workload.service, {})
        for instance in workload.instances:
            what = seen.get(instance.name)
            unpublished = unpublished or _lacks_outlet(instance, what, observed)
            ups += _up(instance, what, observed)
            downs += _down(instance, what)
    downs += _strays(blueprint, observed)
    return (*ups, *_publish(blueprint, observed, unpublished=unpublished), *downs)


def is_settled(workload: Workload, observed: Observed) -> bool:
    """Whether the design has already compared this very view with what is wanted and owes nothing."""
    basis, seen = workload.basis, observed.instances.get(workload.service)
    return isinstance(basis, tuple) and (basis[2] is seen or not (basis[2] or seen))


def _up(instance: Instance, seen: Seen | None, observed: Observed) -> Iterator[Action]:
    if instance.stage is not Stage.START or observed.at < instance.not_before:
        return
    if seen is None:
        yield Create(instance, _why(instance))
    elif seen.phase is Phase.CREATED and _outlets_open(instance, observed):
        yield Start(instance, _why(instance))


def _why(instance: Instance) -> str:
    if instance.crashes:
        return f"replaces one that failed: {instance.reason}"
    return f"release {instance.recipe.release} wants it"


def _down(instance: Instance, seen: Seen | None) -> Iterator[Action]:
    if instance.stage is Stage.STOP and seen is not None and seen.phase is Phase.RUNNING:
        yield Stop(instance.name, instance.recipe.service, instance.recipe.grace, instance.reason)


def _lacks_outlet(instance: Instance, seen: Seen | None, observed: Observed) -> bool:
    there = seen is not None and seen.phase in {Phase.CREATED, Phase.RUNNING}
    return there and not _outlets_open(instance, observed)


def _outlets_open(instance: Instance, observed: Observed) -> bool:
    """An instance starts only once it can call: programs that call out in their first line must work."""
    return not instance.outlets or instance.name in observed.mesh.outlets


def _publish(blueprint: Blueprint, observed: Observed, *, unpublished: bool) -> Iterator[Action]:
    if observed.mesh.generation < blueprint.generation:
        yield Publish(blueprint.generation, f"generation {blueprint.generation} is new")
    elif unpublished:
        yield Publish(blueprint.generation, "an instance has no outlet yet")


def _strays(blueprint: Blueprint, observed: Observed) -> Iterator[Action]:
    """What runs or lies about without being wanted."""
    for service, seen in observed.instances.items():
        workload = blueprint.workloads.get(service)
        if workload is not None and is_settled(workload, observed):
            continue
        wanted = {i.name for i in workload.instances} if workload is not None else set[str]()
        for name, what in seen.items():
            if name in wanted:
                continue
            if what.phase is Phase.RUNNING:
                yield Stop(name, service, STRAY_GRACE, "nobody wants it")
            elif what.phase in {Phase.CREATED, Phase.EXITED} and _let_go(name, blueprint, observed):
                yield Remove(name, service, "it has ended")


def _let_go(name: str, blueprint: Blueprint, observed: Observed) -> bool:
    """The proxies run a configuration without it: a listener may not outlive the namespace it is in."""
    mesh = observed.mesh
    return "mesh" in observed.answered and mesh.generation >= blueprint.generation and name not in mesh.outlets
