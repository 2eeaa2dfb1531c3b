"""
Services that the file has no more, kept for as long as a release that runs may still call them.

To remove a call and its callee in one change is the usual end of a dependency. The release that has the call serves
until another one has replaced it, and where that fails it goes on: what it was made to call has to be there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from atoll.model.system import Service, System
from atoll.plan.blueprint import Recipe, Workload
from atoll.plan.decisions import Pin


def retain(wanted: System, before: System | None, pins: Mapping[str, Pin]) -> System:
    """*wanted*, and without their routes the services of *before* that it lacks and another one was made to call."""
    there = before.services if before is not None else {}
    lost = {name: service for name, service in there.items() if name not in wanted.services}
    called = {callee for name, service in there.items() for callee in _callees(service, _pinned(name, pins)) - {name}}
    kept = {name: replace(service, routes=()) for name, service in lost.items() if name in called}
    return replace(wanted, services={**wanted.services, **kept}, retained=tuple(sorted(kept)))


def dispensable(system: System, pins: Mapping[str, Pin], workloads: Mapping[str, Workload]) -> tuple[str, ...]:
    """
    Those of the retained services that may go now, as nothing else that runs may call them.

    Who calls goes before whom it calls; those that call each other in a circle, and nobody else does, go together.
    """
    if not system.retained:
        return ()
    callees = {
        name: set(_callees(one, _there(name, pins, workloads))) - {name} for name, one in system.services.items()
    }
    called = {callee for found in callees.values() for callee in found}
    free = tuple(name for name in system.retained if name not in called)
    if free:
        return free
    needed = {callee for name, found in callees.items() if name not in system.retained for callee in found}
    reached: set[str] = set()
    while needed - reached:
        reached |= needed
        needed = {callee for name in reached for callee in callees.get(name, ())}
    return tuple(name for name in system.retained if name not in reached)


def callers(system: System, pins: Mapping[str, Pin], workloads: Mapping[str, Workload], name: str) -> tuple[str, ...]:
    """The releases that may call *name*, in words: `web release 1`."""
    return tuple(
        f"{other} release {release}"
        for other, service in system.services.items()
        if other != name
        for release in sorted({r.release for r in _there(other, pins, workloads) if name in _callees(service, (r,))})
    )


def _callees(service: Service, recipes: Iterable[Recipe]) -> set[str]:
    return {call.service for one in recipes for call in (service.calls if one.calls is None else one.calls)}


def _pinned(name: str, pins: Mapping[str, Pin]) -> Iterator[Recipe]:
    pin = pins.get(name, Pin())
    yield from (recipe for recipe in (pin.stable, pin.target) if recipe is not None)


def _there(name: str, pins: Mapping[str, Pin], workloads: Mapping[str, Workload]) -> Iterator[Recipe]:
    yield from _pinned(name, pins)
    if name in workloads:
        yield from (instance.recipe for instance in workloads[name].instances)
