"""Every value of a service, or of the gateway, with where it came from and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from atoll.errors import Refused
from atoll.kit.policy import Retry
from atoll.model.calls import callee_name
from atoll.model.fields import Field, known
from atoll.model.system import (
    Call,
    CallPolicy,
    Check,
    Compare,
    Egress,
    Gateway,
    Health,
    Origin,
    Resources,
    Rollout,
    Route,
    Service,
    System,
    Tolerance,
)
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
    The values of a service (`orders`), of one of its fields (`orders.calls.payments.timeout`), or of the `gateway`.

    Raises `errors.Refused` with the nearest name where there is no such service or field.
    """
    name, _, field = subject.partition(".")
    prefix, rows = _rows(system, name)
    found = [Explanation(path, value, _origin(system, path, file), of.meaning) for path, value, of in rows]
    wanted = f"{prefix}.{field}" if field else prefix
    chosen = tuple(e for e in found if e.path == wanted or e.path.startswith(f"{wanted}."))
    if not chosen:
        close = nearest(field, _fields(e.path.removeprefix(f"{prefix}.") for e in found))
        hint = f"did you mean {name}.{close}?" if close else f"see them all with `atoll explain {name}`"
        raise Refused(f"{name} has no field {field!r}", hint=hint)
    return chosen


T = TypeVar("T")
Row = tuple[str, str, Field]


def settings(service: Service) -> dict[str, str]:
    """Every value of a service by its path in the file, as the file writes it; variables are left out."""
    path = f"services.{service.name}"
    rows = _service(path, service, ready_apart=False)
    return {at: value for at, value, _ in rows if value != "none" and not at.startswith(f"{path}.env")}


def _rows(system: System, name: str) -> tuple[str, Iterator[Row]]:
    if name == "gateway":
        return "gateway", _gateway(system.gateway)
    service = system.services.get(name)
    if service is None:
        close = nearest(name, ["gateway", *system.services])
        known_names = ", ".join(["gateway", *system.services])
        hint = f"did you mean {close}?" if close else f"write one of: {known_names}"
        raise Refused(f"there is no service {name!r}", hint=hint)
    path = f"services.{name}"
    ready = system.origins.get(f"{path}.health.ready")
    return path, _service(path, service, ready_apart=ready is not None and ready.line > 0)


def _fields(paths: Iterator[str]) -> set[str]:
    """The paths and everything that they are in: `resources.cpu` is in `resources`."""
    return {path[:end] for path in paths for end in (*_dots(path), len(path))}


def _dots(path: str) -> Iterator[int]:
    return (at for at, c in enumerate(path) if c == ".")


def _origin(system: System, path: str, file: str) -> str:
    origin = system.origins.get(path, Origin(reason="nothing was written"))
    return f"{file}:{origin.line}:{origin.column}" if origin.line else f"default: {origin.reason}"


def _gateway(gateway: Gateway) -> Iterator[Row]:
    yield "gateway.listen", f"{gateway.host}:{gateway.listen}", known("gateway")["listen"]


def _service(path: str, service: Service, *, ready_apart: bool) -> Iterator[Row]:
    fields = known("service")
    yield f"{path}.source", service.source or ".", fields["source"]
    yield f"{path}.run", service.run or "none", fields["run"]
    yield f"{path}.runtime", service.runtime, fields["runtime"]
    yield f"{path}.instances", str(service.instances), fields["instances"]
    yield from _resources(f"{path}.resources", service.resources)
    yield from _health(f"{path}.health", service.health, apart=ready_apart)
    yield f"{path}.protocol", service.protocol, fields["protocol"]
    yield from _list(f"{path}.env", fields["env"], [_variable(path, name, v) for name, v in service.env.items()])
    routes = [row for number, route in enumerate(service.routes) for row in _route(f"{path}.routes.{number}", route)]
    yield from _list(f"{path}.routes", fields["routes"], routes)
    callees: tuple[Call | Egress, ...] = (*service.calls, *service.egress)
    calls = [row for callee in callees for row in _call(f"{path}.calls.{callee_name(callee)}", callee.policy)]
    yield from _list(f"{path}.calls", fields["calls"], calls)
    yield f"{path}.flags", ", ".join(service.flags) or "none", fields["flags"]
    yield from _rollout(f"{path}.release", service.rollout)
    if service.compare is None:
        yield f"{path}.compare", "none", fields["compare"]
    else:
        yield from _compare(f"{path}.compare", service.compare)


def _list(path: str, field: Field, rows: list[Row]) -> Iterator[Row]:
    yield from rows or [(path, "none", field)]


def _variable(path: str, name: str, value: str) -> Row:
    return f"{path}.env.{name}", value, known("service")["env"]


def _resources(path: str, resources: Resources) -> Iterator[Row]:
    fields = known("resources")
    yield f"{path}.cpu", _optional(resources.cpu, show_cpu), fields["cpu"]
    yield f"{path}.memory", _optional(resources.memory, show_size), fields["memory"]
    yield f"{path}.pids", str(resources.pids), fields["pids"]


def _health(path: str, health: Health, *, apart: bool) -> Iterator[Row]:
    fields = known("health")
    yield from _check(f"{path}.ready" if apart else path, health.ready)
    yield f"{path}.startup", show_duration(health.startup), fields["startup"]
    if health.live is None:
        yield f"{path}.live", "none", fields["live"]
    else:
        yield from _check(f"{path}.live", health.live)


def _check(path: str, check: Check) -> Iterator[Row]:
    fields = known("check")
    yield f"{path}.path", _optional(check.path, str), fields["path"]
    yield f"{path}.interval", show_duration(check.interval), fields["interval"]
    yield f"{path}.timeout", show_duration(check.timeout), fields["timeout"]
    yield f"{path}.failures", str(check.failures), fields["failures"]


def _route(path: str, route: Route) -> Iterator[Row]:
    fields = known("route")
    yield f"{path}.path", route.path, fields["path"]
    yield f"{path}.hosts", ", ".join(route.hosts) or "any", fields["hosts"]
    yield f"{path}.timeout", show_duration(route.policy.timeout), fields["timeout"]
    yield from _retries(f"{path}.retries", route.policy.retry)


def _call(path: str, policy: CallPolicy) -> Iterator[Row]:
    fields, breaker = known("call"), known("breaker")
    yield f"{path}.timeout", show_duration(policy.timeout), fields["timeout"]
    yield f"{path}.per-try", _optional(policy.per_try, show_duration), fields["per-try"]
    yield f"{path}.idle", show_duration(policy.idle), fields["idle"]
    yield from _retries(f"{path}.retries", policy.retry)
    yield f"{path}.concurrency", str(policy.bulkhead.limit), fields["concurrency"]
    yield f"{path}.queue", str(policy.bulkhead.queue), fields["queue"]
    yield f"{path}.breaker.errors", _optional(policy.breaker.rate, show_percent), breaker["errors"]
    yield f"{path}.breaker.consecutive", _optional(policy.breaker.consecutive, str), breaker["consecutive"]
    yield f"{path}.breaker.min-calls", str(policy.breaker.min_calls), breaker["min-calls"]
    yield f"{path}.breaker.window", show_duration(policy.breaker.window), breaker["window"]
    yield f"{path}.breaker.open", show_duration(policy.breaker.open), breaker["open"]


def _retries(path: str, retry: Retry) -> Iterator[Row]:
    fields = known("retries")
    yield f"{path}.count", str(retry.retries), fields["count"]
    yield f"{path}.base", show_duration(retry.base), fields["base"]
    yield f"{path}.cap", show_duration(retry.cap), fields["cap"]
    yield f"{path}.budget", show_percent(retry.budget.ratio), fields["budget"]


def _rollout(path: str, rollout: Rollout) -> Iterator[Row]:
    fields = known("release")
    yield f"{path}.strategy", rollout.strategy, fields["strategy"]
    yield f"{path}.surge", str(rollout.surge), fields["surge"]
    yield f"{path}.drain", show_duration(rollout.drain), fields["drain"]
    yield f"{path}.grace", show_duration(rollout.grace), fields["grace"]
    if rollout.strategy == "rolling":
        return
    steps = [f"{step.weight}% for {show_duration(step.least)}" for step in rollout.steps]
    yield f"{path}.steps", ", ".join(steps) or "none", fields["steps"]
    yield f"{path}.most", show_duration(rollout.most), fields["most"]
    yield f"{path}.bake", show_duration(rollout.bake), fields["bake"]
    yield f"{path}.key", rollout.key or "none", fields["key"]
    yield f"{path}.rollback", rollout.rollback, fields["rollback"]
    if rollout.steps:
        yield from _judge(f"{path}.judge", rollout)


def _judge(path: str, rollout: Rollout) -> Iterator[Row]:
    fields, judge = known("judge"), rollout.judge
    counts = ", ".join(f"{name}: {one.method} {one.path}" for name, one in rollout.counts)
    yield f"{path}.metrics", ", ".join(judge.metrics), fields["metrics"]
    yield f"{path}.counts", counts or "none", fields["counts"]
    yield f"{path}.dry-run", ", ".join(judge.dry_run) or "none", fields["dry-run"]
    yield f"{path}.alpha", show_percent(judge.alpha), fields["alpha"]
    yield f"{path}.beta", show_percent(judge.beta), fields["beta"]
    yield f"{path}.errors", show_percent(judge.errors.rate), fields["errors"]
    yield f"{path}.slower", show_percent(judge.latency.unacceptable - 1), fields["slower"]
    yield f"{path}.fewer", show_percent(1 - 1 / judge.falling.unacceptable), fields["fewer"]
    yield f"{path}.bucket", show_duration(judge.bucket), fields["bucket"]
    yield f"{path}.requests", str(judge.min_requests), fields["requests"]
    yield f"{path}.no-data", show_duration(judge.no_data_grace), fields["no-data"]
    yield f"{path}.risk-budget", _optional(judge.risk_budget, str), fields["risk-budget"]


def _compare(path: str, compare: Compare) -> Iterator[Row]:
    fields = known("compare")
    yield f"{path}.share", show_percent(compare.share), fields["share"]
    yield f"{path}.concurrency", str(compare.concurrency), fields["concurrency"]
    yield f"{path}.timeout", show_duration(compare.timeout), fields["timeout"]
    yield f"{path}.samples", str(compare.samples), fields["samples"]
    yield f"{path}.for", show_duration(compare.least), fields["for"]
    lists = {
        "headers": compare.headers,
        "masked": compare.masked,
        "ignored": compare.ignored,
        "sets": compare.sets,
        "keyed": tuple(f"{array}: {key}" for array, key in compare.keyed),
        "tolerance": tuple(f"{field}: {_tolerance(near)}" for field, near in compare.tolerances),
        "shown": compare.shown,
        "endpoints": compare.endpoints,
        "safe": tuple(f"{one.method} {one.path}" for one in compare.safe),
        "intended": tuple(f"{one.field} until {one.expires}" for one in compare.intended),
    }
    for key, values in lists.items():
        yield f"{path}.{key}", ", ".join(values) or "none", fields[key]


def _tolerance(near: Tolerance) -> str:
    return show_percent(near.relative) if near.relative else f"{near.absolute:g}"


def _optional(value: T | None, show: Callable[[T], str]) -> str:
    return "none" if value is None else show(value)
