"""What applying a file would do, in the words of a person: what starts, stops, is replaced or changes in place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from atoll.model.calls import callee_name
from atoll.model.explain import settings
from atoll.model.system import SHADOW_THEN_CANARY, CallPolicy, Service, System
from atoll.plan.blueprint import Recipe
from atoll.plan.decisions import Pin
from atoll.plan.recipes import AROUND_PROXY, checks, environment, same_callees
from atoll.plan.retaining import needs, retain


class Kind(StrEnum):
    """What happens to a service (or to the gateway)."""

    ADD = "add"
    REMOVE = "remove"
    RELEASE = "release"
    SCALE = "scale"
    CHANGE = "change"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """
    One field of the file, before and after; None where it was not or is no more. Values of `env` are not shown.

    A call that comes is one as a whole, with words for its policy, and one that goes; what is special of it follows.
    """

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that applying would do. `effect` says what happens to what runs, `why` what asks for it."""

    kind: Kind
    subject: str
    effect: str
    why: str
    changes: tuple[FieldChange, ...] = ()


def preview(
    current: System | None,
    wanted: System,
    pins: Mapping[str, Pin],
    digests: Mapping[str, str],
    held: Collection[str] = (),
    failing: Mapping[str, int] | None = None,
) -> tuple[Difference, ...]:
    """
    Compare what was applied last with *wanted*; *digests* are the artifacts that the sources give now, by service.

    The services in *held* get no new release (see `plan.past`), and the *failing* have never served. Empty where
    applying would change nothing.
    """
    changes = _differences(current, wanted, pins, digests, held)
    return (*changes, *_removals(current, wanted, retain(wanted, current, pins, failing), pins))


def _differences(
    current: System | None,
    wanted: System,
    pins: Mapping[str, Pin],
    digests: Mapping[str, str],
    held: Collection[str],
) -> Iterator[Difference]:
    before = current.services if current is not None else {}
    there = set(current.retained) if current is not None else set[str]()
    if current is not None and current.gateway != wanted.gateway:
        moves = "the gateway listens elsewhere at once; open connections to the old address are drained"
        yield Difference(
            Kind.CHANGE,
            "gateway",
            moves if before else "the gateway opens elsewhere",  # while nothing is wanted it is closed
            "gateway changed",
            _changed({"gateway.listen": _door(current)}, {"gateway.listen": _door(wanted)}),
        )
    for name, service in wanted.services.items():
        pin = pins.get(name, Pin())
        if name in there:
            yield Difference(Kind.ADD, name, "stays, as part of the system", "it is in the file again")
        if name not in before or pin.newest is None:
            yield _added(service, held=name in held)
        else:
            digest = digests.get(name)
            reasons = () if name in held else _release_reasons(pin.newest, before[name], service, wanted, digest)
            yield from _service(before[name], service, tuple(reasons))


def _removals(current: System | None, wanted: System, after: System, pins: Mapping[str, Pin]) -> Iterator[Difference]:
    """What is not *wanted* any more and was not told to go before; *after* has it as long as something needs it."""
    if current is None:
        return
    for name, service in current.services.items():
        if name in wanted.services or name in current.retained:
            continue
        when = f", once nothing needs it ({needs(after, pins, {}, name)})" if name in after.retained else ""
        effect = f"drains and stops {_instances(service.instances)}{when}"
        yield Difference(Kind.REMOVE, name, effect, "it is not in the file any more")


def _added(service: Service, *, held: bool) -> Difference:
    count = _instances(service.instances)
    if held:
        effect, why = f"starts {count} of what served last", "what is here now was taken back"
    else:
        effect, why = f"builds it and starts {count}", "it is new"
    return Difference(Kind.ADD, service.name, effect, why)


def _service(before: Service, after: Service, why: tuple[str, ...]) -> Iterator[Difference]:
    changes = _told(before, after, _changed(_values(before), _values(after)))
    count = f"services.{after.name}.instances"
    scale = [c for c in changes if c.path == count]
    rest = tuple(c for c in changes if c.path != count)
    if why:
        yield Difference(Kind.RELEASE, after.name, f"new release: {_course(after)}", "; ".join(why), rest)
    elif rest:
        yield Difference(Kind.CHANGE, after.name, "takes effect at once, nothing restarts", "policy changed", rest)
    if scale:
        more = after.instances - before.instances
        effect = f"starts {_instances(more)}" if more > 0 else f"drains and stops {_instances(-more)}"
        yield Difference(Kind.SCALE, after.name, effect, "instances changed", tuple(scale))


def _course(service: Service) -> str:
    """How a release takes the place of the one before."""
    rollout = service.rollout
    if rollout.strategy == "blue-green":
        return f"starts {_instances(service.instances)} beside the old ones, which then get all of the traffic at once"
    if not rollout.in_steps:
        return f"replaces {_instances(service.instances)} without a gap, {rollout.surge} at a time"
    first = "copies of the requests, then " if rollout.strategy == SHADOW_THEN_CANARY else ""
    shares = ", ".join(f"{step.weight} %" for step in rollout.steps)
    return f"gets {first}{shares} of the traffic and then all, judged at each step"


def _told(before: Service, after: Service, changes: tuple[FieldChange, ...]) -> tuple[FieldChange, ...]:
    """The same, but of a call that comes only what differs from the usual policy, and of one that goes that it goes."""
    old, new = _callees(before), _callees(after)
    if old == new:
        return changes
    usual = _values(_usual(after))
    result: list[FieldChange] = []
    for callee in sorted(old ^ new):
        path = f"services.{after.name}.calls.{callee}"
        own = [c for c in changes if c.path.startswith(f"{path}.")]
        changes = tuple(c for c in changes if c not in own)
        if callee in old:
            result.append(FieldChange(path, "declared", None))
            continue
        differs = [c for c in own if c.after != usual.get(c.path)]
        but = ", but for:" if differs else ""
        see = f"usual policy (atoll explain {after.name}.calls.{callee}){but}"
        result += (FieldChange(path, None, see), *differs)
    return tuple(sorted((*result, *changes), key=lambda c: c.path))


def _callees(service: Service) -> set[str]:
    return {*map(callee_name, service.calls), *map(callee_name, service.egress)}


def _usual(service: Service) -> Service:
    """The same service with the policy of those who declare none for each of its calls."""
    policy = CallPolicy()
    calls = tuple(replace(call, policy=policy) for call in service.calls)
    return replace(service, calls=calls, egress=tuple(replace(one, policy=policy) for one in service.egress))


def _release_reasons(
    on: Recipe, before: Service, service: Service, system: System, digest: str | None
) -> Iterator[str]:
    if digest is not None and digest != on.artifact:
        what = "source" if before.run == service.run else "run"  # an artifact is both
        yield f"{what} changed ({on.artifact[:8]} to {digest[:8]})"
    if service.runtime != on.runtime:
        yield f"runtime changed ({on.runtime} to {service.runtime})"
    if service.resources != on.resources:
        yield "resources changed"
    if checks(service.health) != checks(on.health):
        yield "health changed"
    want, have = dict(environment(system, service)), dict(on.env)
    differing = sorted(k for k in want.keys() | have.keys() if have.get(k) != want.get(k))
    told = [name for name in differing if name not in AROUND_PROXY] or differing
    if told:
        yield f"environment changed ({', '.join(told)})"
    elif not same_callees(on, replace(on, calls=service.calls)):
        yield "calls changed"


def _instances(count: int) -> str:
    return f"{count} instance{'s' if count != 1 else ''}"


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[FieldChange, ...]:
    return tuple(
        FieldChange(p, _shown(p, old.get(p)), _shown(p, new.get(p)))
        for p in sorted(old.keys() | new.keys())
        if old.get(p) != new.get(p)
    )


def _values(service: Service) -> dict[str, str]:
    return settings(service) | {f"services.{service.name}.env.{key}": value for key, value in service.env.items()}


def _door(system: System) -> str:
    return f"{system.gateway.host}:{system.gateway.listen}"


def _shown(path: str, value: str | None) -> str | None:
    return "(not shown)" if value is not None and ".env." in path else value
