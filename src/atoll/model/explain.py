"""Every value of a service with where it came from and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from atoll.errors import Refused
from atoll.model.fields import Field, known
from atoll.model.system import CallPolicy, Check, Service, System
from atoll.values.nearest import nearest
from atoll.values.quantities import show_cpu, show_duration, show_percent, show_size


@dataclass(frozen=True, slots=True)
class Explanation:
    """One value: its path, how the file writes it, where it came from, what it is for."""

    path: str
    value: str
    origin: str
    meaning: str


def explain(system: System, subject: str, *, file: str = "atoll.yaml") -> tuple[Explanation, ...]:
    """
    The values of a service (`orders`) or of one of its fields (`orders.calls.payments.timeout`).

    Raises `errors.Refused` with the nearest name where there is no such service or field.
    """
    name, _, rest = subject.partition(".")
    service = system.services.get(name)
    if service is None:
        close = nearest(name, system.services)
        raise Refused(
            f"there is no service {name!r}",
            hint=f"did you mean {close}?" if close else f"services: {', '.join(system.services)}",
        )
    found = [Explanation(p, v, _origin(system, p, f, file), f.meaning) for p, v, f in _service(service)]
    prefix = f"services.{subject}"
    chosen = tuple(e for e in found if e.path == prefix or e.path.startswith(f"{prefix}."))
    if not chosen:
        paths = [e.path.removeprefix(f"services.{name}.") for e in found]
        close = nearest(rest, paths)
        raise Refused(
            f"{name} has no field {rest!r}",
            hint=f"did you mean {name}.{close}?" if close else f"see: atoll explain {name}",
        )
    return chosen


def _origin(system: System, path: str, field: Field, file: str) -> str:
    # `health: /healthz` and `routes: [/]` set the path of what they stand for.
    short = path.removesuffix(".path")
    for at in (path, short):
        origin = system.origins.get(at)
        if origin is not None and origin.line and (at == path or not _has_inner(system, at)):
            return f"{file}:{origin.line}:{origin.column}"
    return _default(field)


def _has_inner(system: System, path: str) -> bool:
    return f"{path}.path" in system.origins


def _default(field: Field) -> str:
    return f"default: {field.reason}" if field.reason else "default"


T = TypeVar("T")
Row = tuple[str, str, Field]


def _service(service: Service) -> Iterator[Row]:
    path, fields = f"services.{service.name}", known("service")
    rollout, resources = service.rollout, service.resources
    yield f"{path}.source", service.source or "none", fields["source"]
    yield f"{path}.run", service.run or "found in the source", fields["run"]
    yield f"{path}.runtime", service.runtime, fields["runtime"]
    yield f"{path}.instances", str(service.instances), fields["instances"]
    inside = known("resources")
    yield f"{path}.resources.cpu", _optional(resources.cpu, show_cpu), inside["cpu"]
    yield f"{path}.resources.memory", _optional(resources.memory, show_size), inside["memory"]
    yield f"{path}.resources.pids", str(resources.pids), inside["pids"]
    yield from _check(f"{path}.health", service.health.ready)
    yield f"{path}.health.startup", show_duration(service.health.startup), known("health")["startup"]
    if service.health.live is not None:
        yield from _check(f"{path}.health.live", service.health.live)
    for name in service.env:
        yield f"{path}.env.{name}", "(not shown)", fields["env"]
    for number, route in enumerate(service.routes):
        yield f"{path}.routes.{number}.path", route.path, known("route")["path"]
        yield f"{path}.routes.{number}.timeout", show_duration(route.policy.timeout), known("route")["timeout"]
    for call in service.calls:
        yield from _policy(f"{path}.calls.{call.service}", call.policy)
    for egress in service.egress:
        yield from _policy(f"{path}.calls.{egress.scheme}://{egress.host}", egress.policy)
    inside = known("release")
    yield f"{path}.release.strategy", rollout.strategy, inside["strategy"]
    yield f"{path}.release.surge", str(rollout.surge), inside["surge"]
    yield f"{path}.release.drain", show_duration(rollout.drain), inside["drain"]
    yield f"{path}.release.grace", show_duration(rollout.grace), inside["grace"]


def _check(path: str, check: Check) -> Iterator[Row]:
    fields = known("check")
    yield f"{path}.path", check.path or "none (TCP)", fields["path"]
    yield f"{path}.interval", show_duration(check.interval), fields["interval"]
    yield f"{path}.timeout", show_duration(check.timeout), fields["timeout"]
    yield f"{path}.failures", str(check.failures), fields["failures"]


def _policy(path: str, policy: CallPolicy) -> Iterator[Row]:
    fields, breaker = known("call"), known("breaker")
    yield f"{path}.timeout", show_duration(policy.timeout), fields["timeout"]
    yield f"{path}.per-try", _optional(policy.per_try, show_duration), fields["per-try"]
    yield f"{path}.idle", show_duration(policy.idle), fields["idle"]
    yield f"{path}.retries", str(policy.retry.retries), fields["retries"]
    yield f"{path}.concurrency", str(policy.bulkhead.limit), fields["concurrency"]
    yield f"{path}.queue", str(policy.bulkhead.queue), fields["queue"]
    yield f"{path}.breaker.errors", _optional(policy.breaker.rate, show_percent), breaker["errors"]
    yield f"{path}.breaker.consecutive", _optional(policy.breaker.consecutive, str), breaker["consecutive"]
    yield f"{path}.breaker.open", show_duration(policy.breaker.open), breaker["open"]


def _optional(value: T | None, show: Callable[[T], str]) -> str:
    return "none" if value is None else show(value)
