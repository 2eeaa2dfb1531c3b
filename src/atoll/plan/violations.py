"""Invariants of a blueprint. One that breaks any of them never becomes the target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from atoll.plan.blueprint import Blueprint, Instance


def violations(blueprint: Blueprint) -> Iterator[str]:
    """Yield every broken invariant, in words."""
    instances = [i for w in blueprint.workloads.values() for i in w.instances]
    yield from _twice("instance name", (i.name for i in instances))
    yield from _twice("address", (f"{i.address.ip}:{i.address.port}" for i in instances))
    yield from _twice("network", (str(i.network) for i in instances if i.network))
    yield from _twice("outlet", (o for i in instances for o in _outlets(i)))
    for workload in blueprint.workloads.values():
        for instance in workload.instances:
            if instance.recipe.service != workload.service:
                yield f"{workload.service}: {instance.name} belongs to {instance.recipe.service}"
            if instance.serial > workload.serial:
                yield f"{workload.service}: {instance.name} has a serial above the {workload.serial} given out"


def _outlets(instance: Instance) -> Iterator[str]:
    for outlet in instance.outlets:
        yield f"{outlet.netns or 'host'} {outlet.address.ip}:{outlet.address.port}"


def _twice(what: str, values: Iterator[str]) -> Iterator[str]:
    yield from (f"{what} {value} is given to {n} instances" for value, n in Counter(values).items() if n > 1)
