"""The one status screen: what is wanted, what is, and why they differ."""

from __future__ import annotations

from collections.abc import Iterator

from atoll import wire
from atoll.model.system import Service
from atoll.operations.snapshot import Snapshot
from atoll.plan.blueprint import Instance, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.design import first_call
from atoll.plan.observed import Observed, Phase, Seen, describe_failure, describe_killed
from atoll.plan.retaining import needs, never_served

WAITS = {
    Stage.START: "starting",
    Stage.SERVE: "ready",
    Stage.DRAIN: "draining",
    Stage.STOP: "stopping",
}


def status(snapshot: Snapshot) -> wire.StatusView:
    """Everything `atoll status` shows."""
    system = snapshot.system
    services = system.services if system is not None else {}
    leaving = [n for n in {*snapshot.blueprint.workloads, *snapshot.observed.instances} if n not in services]
    views = [_service(snapshot, name, service) for name, service in services.items()]
    views += [_service(snapshot, name, None) for name in sorted(leaving)]
    gateway = snapshot.blueprint.gateway
    return wire.StatusView(
        system=system.name if system is not None else "",
        at=snapshot.observed.at,
        generation=snapshot.blueprint.generation,
        converged=snapshot.converged,
        gateway=f"http://{gateway.host}:{gateway.listen}",
        services=tuple(views),
        change=snapshot.change,
        problems=(*snapshot.problems, *_proxies(snapshot.observed)),
        notes=snapshot.notes,
    )


def _proxies(observed: Observed) -> Iterator[str]:
    """What keeps the proxies from being as wanted."""
    if observed.away:
        yield observed.away
    if observed.mesh.rejected:
        yield f"Envoy refuses a configuration, and is asked again every few seconds: {observed.mesh.rejected}"


def _service(snapshot: Snapshot, name: str, service: Service | None) -> wire.ServiceView:
    workload = snapshot.blueprint.workloads.get(name)
    instances = [_instance(snapshot, i) for i in workload.instances] if workload is not None else []
    ready = sum(i.state == "ready" for i in instances)
    wanted = service.instances if service is not None else 0
    pin = snapshot.pins.get(name, Pin())
    rates = snapshot.rates.get(name)
    loads = [snapshot.loads[i.name] for i in instances if i.name in snapshot.loads]
    return wire.ServiceView(
        name=name,
        wanted=wanted,
        ready=ready,
        release=pin.stable.release if pin.stable is not None else None,
        target=pin.target.release if pin.target is not None else None,
        restarts=_restarts(workload, pin) if workload is not None else 0,
        why="; ".join(_why(snapshot, name, wanted, ready, pin, instances)),
        cpu=_sum(load.cpu for load in loads),
        memory=_total(load.memory for load in loads),
        rps=rates.rps if rates is not None else None,
        p50=rates.p50 if rates is not None else None,
        p99=rates.p99 if rates is not None else None,
        errors=rates.errors if rates is not None else None,
        instances=tuple(instances),
    )


def _restarts(workload: Workload, pin: Pin) -> int:
    """Those of the release that serves; of the one that begins where none has served yet."""
    recipe = pin.stable or pin.target
    return dict(workload.failed_runs).get(recipe.release, 0) if recipe is not None else 0


def _why(
    snapshot: Snapshot, name: str, wanted: int, ready: int, pin: Pin, instances: list[wire.InstanceView]
) -> Iterator[str]:
    """Why it is not as wanted, and what has happened to instances that run on; nothing where it is and nothing has."""
    if name in snapshot.building:
        yield f"building: {snapshot.building[name]}" if snapshot.building[name] else "building"
    if pin.newest is None and wanted:
        # Of what was never built, or was taken away before it served.
        again = f"there is no release of it to run: `atoll apply`, or `atoll deploy {name}`, makes one"
        yield "waits for its first build" if name in snapshot.building else again
    if pin.progress is not None:
        share = f" at {pin.progress.shown}%" if pin.progress.shown else ""
        yield f"release {pin.progress.release} is {pin.progress.state}{share}: {pin.progress.reason or 'it begins'}"
    elif pin.target is not None:
        of = f" in place of {pin.stable.release}" if pin.stable is not None else ""
        yield f"release {pin.target.release} is rolling out{of}"
    if ready != wanted or pin.target is not None:
        yield from dict.fromkeys(i.reason for i in instances if i.reason and i.state != "ready")
    yield from (f"{i.name}: {i.reason}" for i in instances if i.reason and i.state == "ready")
    if snapshot.system is not None and name in snapshot.system.retained:
        what = needs(snapshot.system, snapshot.pins, snapshot.blueprint.workloads, name)
        yield f"is not in the file any more, and goes once nothing needs it ({what})"
    if not wanted and instances:
        yield "is leaving"


def _instance(snapshot: Snapshot, instance: Instance) -> wire.InstanceView:
    seen = snapshot.observed.instances.get(instance.recipe.service, {}).get(instance.name)
    load = snapshot.loads.get(instance.name)
    state, reason = _state(snapshot, instance, seen)
    killed = describe_killed(seen.killed) if seen is not None else ""
    return wire.InstanceView(
        name=instance.name,
        release=instance.recipe.release,
        state=state,
        reason="; ".join(filter(None, (reason, killed))),
        pid=seen.pid if seen is not None else 0,
        address=f"{instance.address.ip}:{instance.address.port}",
        started_at=seen.started_at if seen is not None else 0.0,
        crashes=instance.crashes,
        cpu=load.cpu if load is not None else None,
        memory=load.memory if load is not None else None,
    )


def _state(snapshot: Snapshot, instance: Instance, seen: Seen | None) -> tuple[str, str]:
    word = WAITS[instance.stage]
    lost = _lost(seen) if instance.stage is Stage.SERVE and "runtime" in snapshot.observed.answered else ""
    if lost:
        # The target is older than what is seen, for a moment, or for as long as it cannot be written down anew.
        return "ended", f"{lost}, and is not replaced yet"
    if instance.stage is not Stage.START:
        return word, instance.reason
    if seen is not None and seen.phase is Phase.EXITED and seen.exit is not None:
        return "ended", describe_failure(seen.exit)
    if instance.not_before > snapshot.observed.at:
        wait = instance.not_before - snapshot.observed.at
        return "waiting", f"starts again in {wait:.0f} s, {instance.crashes} in a row failed: {instance.reason}"
    if seen is None or seen.phase is Phase.CREATED:
        return word, instance.reason
    return ("unready" if instance.served else word), _not_served(snapshot, instance)


def _not_served(snapshot: Snapshot, instance: Instance) -> str:
    """Why an instance that runs gets no traffic."""
    health = snapshot.observed.readiness.get(instance.recipe.service, {}).get(instance.name)
    if health is None:
        return instance.reason
    pin = snapshot.pins.get(instance.recipe.service, Pin())
    callee = first_call(pin, instance.recipe, never_served(snapshot.pins, {})) if health.ready else ""
    waits = f"it is ready, and waits for {callee}, which it calls and which has never served"
    return waits if callee else health.reason


def _lost(seen: Seen | None) -> str:
    """How what was running has ended; empty where it has not."""
    if seen is None:
        return "it vanished"
    return describe_failure(seen.exit) if seen.phase is Phase.EXITED and seen.exit is not None else ""


def _sum(values: Iterator[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None


def _total(values: Iterator[int | None]) -> int | None:
    known = [v for v in values if v is not None]
    return sum(known) if known else None
