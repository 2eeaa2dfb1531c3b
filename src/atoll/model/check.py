"""What values mean together: names that must exist, routes that must not clash, calls that go in a circle."""

from __future__ import annotations

from collections.abc import Iterator

from atoll.model.calls import callee_name
from atoll.model.problems import Place
from atoll.model.reading import Notes
from atoll.model.system import Egress, Route, Service, System
from atoll.values.names import FLAG_VARIABLES, FLAGS, is_itself
from atoll.values.nearest import nearest

LONGEST_CIRCLE = 8
NOWHERE = Place("", 1, 1)


def check(system: System, notes: Notes) -> tuple[str, ...]:
    """Note what is wrong in *notes* and return warnings: true things that do not make the file wrong."""
    for service in system.services.values():
        _check_service(system, service, notes)
    _check_runtimes(system, notes)
    _check_routes(system, notes)
    return tuple(_warnings(system, notes))


def _place(notes: Notes, path: str) -> Place:
    while path and path not in notes.places:
        path = path.rpartition(".")[0]
    return notes.places.get(path, next(iter(notes.places.values()), NOWHERE))


def _check_service(system: System, service: Service, notes: Notes) -> None:
    path = f"services.{service.name}"
    if service.source is not None and _leaves(service.source):
        place = _place(notes, f"{path}.source")
        notes.problem(
            place,
            f"{path}.source: {service.source!r} leads elsewhere",
            "it has to be a directory below that of the file",
        )
    if service.run is not None and not service.run.strip():
        notes.problem(_place(notes, f"{path}.run"), f"{path}.run is empty")
    for call in service.calls:
        _check_call(system, service, call.service, notes)
    for egress in service.egress:
        _check_egress(system, service, egress, notes)
    for variable in FLAG_VARIABLES if service.flags else ():
        if variable in service.env:
            where = _place(notes, f"{path}.env.{variable}")
            notes.problem(where, f"{variable} is set by Atoll, as {service.name} asks for flags", "take it out")


def _leaves(source: str) -> bool:
    return (
        not source
        or source.startswith(("/", "~"))
        or "\\" in source
        or ".." in source.split("/")
        or any(ord(c) < 0x20 for c in source)  # noqa: PLR2004 - control characters
    )


def _check_call(system: System, service: Service, callee: str, notes: Notes) -> None:
    place = _place(notes, f"services.{service.name}.calls.{callee}")
    variable = callee.upper().replace("-", "_") + "_URL"
    if callee == service.name:
        notes.problem(place, f"{service.name} may not call itself", "take it out")
    elif callee not in system.services:
        close = nearest(callee, system.services.keys() - {service.name})
        hint = f"did you mean {close}?" if close else "declare it under services, or write https://… for a host outside"
        notes.problem(place, f"{service.name} calls {callee!r}, but there is no such service", hint)
    elif variable in service.env:
        where = _place(notes, f"services.{service.name}.env.{variable}")
        notes.problem(where, f"{variable} is set by Atoll, as {service.name} calls {callee}", "take it out")


def _check_egress(system: System, service: Service, egress: Egress, notes: Notes) -> None:
    """A host outside must be one: a name of the inside never leads out, whatever its port."""
    host, called = egress.host, callee_name(egress)
    if host == service.name:
        wrong, hint = f"{host} may not call itself", "take it out"
    elif host in system.services:
        wrong = f"{service.name} calls {called!r}, but {host} is a service of this system"
        hint = f"write {host}, and call http://{host}/ without a port"
    elif host == FLAGS:
        wrong, hint = f"{service.name} calls {called!r}, but flags are not outside", "write `flags: [NAME]` instead"
    elif is_itself(host):
        wrong = f"{service.name} calls {called!r}, but there it reaches itself only"
        hint = "write the name of a service, or a name or address of the host outside that others know it by"
    else:
        return
    notes.problem(_place(notes, f"services.{service.name}.calls.{called}"), wrong, hint)


def _check_runtimes(system: System, notes: Notes) -> None:
    kinds = {s.runtime for s in system.services.values()}
    if len(kinds) > 1:
        odd = next(s for s in system.services.values() if s.runtime is not next(iter(system.services.values())).runtime)
        notes.problem(
            _place(notes, f"services.{odd.name}.runtime"),
            f"{odd.name} runs as {odd.runtime}, but others do not: one system has one runtime for now",
            "give all services the same runtime",
        )


def _check_routes(system: System, notes: Notes) -> None:
    taken: dict[tuple[str, str], str] = {}
    for service in system.services.values():
        for number, route in enumerate(service.routes):
            for key in _doors(route):
                owner = taken.setdefault(key, service.name)
                if owner != service.name or _again(service, number, key):
                    place = _place(notes, f"services.{service.name}.routes.{number}")
                    host, path = key
                    on = f" on {host}" if host else ""
                    notes.problem(place, f"the path {path}{on} leads to {owner} already", "one path, one service")


def _doors(route: Route) -> Iterator[tuple[str, str]]:
    path = route.path.rstrip("/") or "/"
    yield from ((host, path) for host in route.hosts or ("",))


def _again(service: Service, number: int, key: tuple[str, str]) -> bool:
    return any(key in set(_doors(route)) for route in service.routes[:number])


def _warnings(system: System, notes: Notes) -> Iterator[str]:
    for service in system.services.values():
        if not service.health.declared:
            yield (
                f"services.{service.name} (line {_place(notes, f'services.{service.name}').line}) has no `health:`:"
                " a TCP connect tells only that something listens"
            )
        for egress in service.egress:
            close = nearest(egress.host, system.services) if "." not in egress.host else None
            if close is not None and egress.host not in system.services:
                called = callee_name(egress)
                line = _place(notes, f"services.{service.name}.calls.{called}").line
                yield f"{service.name} calls {called} (line {line}), a host outside; for the service write {close}"
    circle = _circle(system)
    if circle:
        yield f"the calls go in a circle: {_shown(circle)}; one slow service there can stop them all"


def _shown(circle: list[str]) -> str:
    left_out = len(circle) - LONGEST_CIRCLE
    names = [*circle[: LONGEST_CIRCLE - 1], f"({left_out} more)", circle[-1]] if left_out > 0 else circle
    return " → ".join(names)


def _circle(system: System) -> list[str]:
    done: set[str] = set()
    for start in system.services:
        found = _walk(system, start, [], done)
        if found:
            return found
    return []


def _walk(system: System, start: str, path: list[str], done: set[str]) -> list[str]:
    """The first circle met from *start*, depth first, without recursion deeper than the call graph's own paths."""
    stack: list[tuple[str, Iterator[str]]] = [(start, _callees(system, start))]
    path.append(start)
    while stack:
        name, callees = stack[-1]
        following = next(callees, None)
        if following is None:
            done.add(name)
            stack.pop()
            path.pop()
        elif following in path:
            return [*path[path.index(following) :], following]
        elif following not in done and following in system.services:
            path.append(following)
            stack.append((following, _callees(system, following)))
    return []


def _callees(system: System, name: str) -> Iterator[str]:
    return iter([c.service for c in system.services[name].calls if c.service != name])
