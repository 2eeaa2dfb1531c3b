"""
Services that the file has no more, kept for as long as something needs them.

To remove a call and its callee in one change is the usual end of a dependency, and to give a service's route to one
under another name the usual way to rename it. The release that has the call serves until another one has replaced it,
and where that fails it goes on: what it was made to call has to be there. So has who answers at a route, until the one
that takes it over serves for the first time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from atoll.model.system import Service, System
from atoll.plan.blueprint import Recipe, Workload
from atoll.plan.decisions import Pin


def never_served(pins: Mapping[str, Pin], failing: Mapping[str, int]) -> frozenset[str]:
    """The services that have not, of those on a release; *failing* are first releases that were given up."""
    return frozenset(n for n, pin in pins.items() if pin.stable is None or failing.get(n) == pin.stable.release)


def retain(
    wanted: System, before: System | None, pins: Mapping[str, Pin], failing: Mapping[str, int] | None = None
) -> System:
    """
    *wanted*, and the services of *before* that it lacks and another one was made to call.

    And those whose routes go to one that has never served, as none of the *failing* has. They keep these routes only,
    and come before it: of two services with one route the first answers, and the proxies know the other one already.
    """
    there = before.services if before is not None else {}
    lost = {name: service for name, service in there.items() if name not in wanted.services}
    called = {callee for name, service in there.items() for callee in _callees(service, _pinned(name, pins)) - {name}}
    new = frozenset(name for name in wanted.services if name not in pins)
    taken = _places(wanted, new | never_served(pins, failing or {}))
    kept = {name: replace(s, routes=tuple(r for r in s.routes if r.place in taken)) for name, s in lost.items()}
    kept = {name: service for name, service in kept.items() if name in called or service.routes}
    return replace(wanted, services={**kept, **wanted.services}, retained=tuple(sorted(kept)))


def dispensable(
    system: System, pins: Mapping[str, Pin], workloads: Mapping[str, Workload], unborn: frozenset[str]
) -> tuple[str, ...]:
    """
    Those of the retained services that may go now, as nothing else that runs may call them, or waits for their routes.

    Who calls goes before whom it calls; those that call each other in a circle, and nobody else does, go together.
    What is *unborn* has never served.
    """
    if not system.retained:
        return ()
    taken = _places(system, unborn)
    doors = {name for name in system.retained if any(r.place in taken for r in system.services[name].routes)}
    those = system.services.items()
    callees = {name: _callees(one, _there(name, pins, workloads)) - {name} for name, one in those}
    called = {callee for found in callees.values() for callee in found}
    free = tuple(name for name in system.retained if name not in called | doors)
    if free:
        return free
    needed = doors | {callee for name, found in callees.items() if name not in system.retained for callee in found}
    reached: set[str] = set()
    while needed - reached:
        reached |= needed
        needed = {callee for name in reached for callee in callees.get(name, ())}
    return tuple(name for name in system.retained if name not in reached)


def needs(system: System, pins: Mapping[str, Pin], workloads: Mapping[str, Workload], name: str) -> str:
    """What a retained service is there for, in words: `web release 1 may call it`."""
    callers = (
        f"{other} release {release} may call it"
        for other, service in system.services.items()
        if other != name
        for release in sorted({r.release for r in _there(other, pins, workloads) if name in _callees(service, (r,))})
    )
    own = {route.place for route in system.services[name].routes}
    takers = (
        f"{other}, which takes over {route.path}, does not serve yet"
        for other, service in system.services.items()
        if other not in system.retained
        for route in service.routes
        if route.place in own
    )
    return ", ".join((*callers, *takers))


def _places(system: System, names: Collection[str]) -> frozenset[tuple[str, tuple[str, ...]]]:
    """The doors of these services, where they are not retained."""
    there = (name for name in names if name in system.services and name not in system.retained)
    return frozenset(route.place for name in there for route in system.services[name].routes)


def _callees(service: Service, recipes: Iterable[Recipe]) -> set[str]:
    return {call.service for one in recipes for call in one.allowed(service.calls)}


def _pinned(name: str, pins: Mapping[str, Pin]) -> Iterator[Recipe]:
    pin = pins.get(name, Pin())
    yield from (recipe for recipe in (pin.stable, pin.target) if recipe is not None)


def _there(name: str, pins: Mapping[str, Pin], workloads: Mapping[str, Workload]) -> Iterator[Recipe]:
    yield from _pinned(name, pins)
    if name in workloads:
        yield from (instance.recipe for instance in workloads[name].instances)
