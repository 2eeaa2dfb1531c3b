"""Invariants of a blueprint. One that breaks any of them never becomes the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from atoll.plan.blueprint import Blueprint, Instance, Workload


def violations(blueprint: Blueprint) -> Iterator[str]:
    """Yield every broken invariant, in words."""
    instances = [i for w in blueprint.workloads.values() for i in w.instances]
    yield from _twice("instance name", (i.name for i in instances))
    yield from _twice("address", (f"{i.address.ip}:{i.address.port}" for i in instances))
    yield from _twice("network", (str(i.network) for i in instances if i.network))
    yield from _twice("outlet", (o for i in instances for o in _outlets(i)))
    for workload in blueprint.workloads.values():
        yield from _shadow(workload)
        for instance in workload.instances:
            if instance.recipe.service != workload.service:
                yield f"{workload.service}: {instance.name} belongs to {instance.recipe.service}"
            if instance.serial > workload.serial:
                yield f"{workload.service}: {instance.name} has a serial above the {workload.serial} given out"


def _shadow(workload: Workload) -> Iterator[str]:
    """What is compared has no user, and changes nothing."""
    shadow, split = workload.shadow, workload.split
    alone = (
        split is not None
        and shadow is not None
        and (split.next, split.weight, split.both) == (shadow.release, 0, False)
    )
    if shadow is not None and not alone:
        yield f"{workload.service}: release {shadow.release} is to answer copies only, and {split} says something else"
    if shadow is not None and shadow.release not in workload.guarded:
        yield f"{workload.service}: release {shadow.release} is to answer copies only, and may change something"


def _outlets(instance: Instance) -> Iterator[str]:
    for outlet in instance.outlets:
        yield f"{outlet.netns or 'host'} {outlet.address.ip}:{outlet.address.port}"


def _twice(what: str, values: Iterator[str]) -> Iterator[str]:
    yield from (f"{what} {value} is given to {n} instances" for value, n in Counter(values).items() if n > 1)
