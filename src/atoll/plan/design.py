"""
From what is wanted and what is seen to the target.

An instance goes START, SERVE, DRAIN, STOP and out; every step is taken on evidence (a health check passed, the
proxies acknowledged, no request is open, the process is gone), never on hope, so that a control plane which dies
between two steps finds the same step to take when it is back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from atoll.errors import Failed
from atoll.model.system import Call, Check, RuntimeKind, Service, System
from atoll.plan.blueprint import Address, Blueprint, Failure, Instance, Outlet, Recipe, Shadow, Split, Stage, Workload
from atoll.plan.decisions import Pin
from atoll.plan.observed import Observed, Phase, Readiness, Seen, describe_failure
from atoll.plan.recipes import url_variable
from atoll.plan.releasing import COMPARED, OVER, State
from atoll.plan.restarts import crashes_after, delay
from atoll.values.names import FLAG_VARIABLES, FLAGS
from atoll.values.network import LAST_NETWORK, instance_address

SANDBOX_PORT = 8080
FIRST_PORT = 20000
PORTS = 12000
LIVE = (Stage.START, Stage.SERVE)
_GONE = frozenset({State.ABORTING}) | OVER - {State.RELEASED}
"""A release is given up, though its instances may not have ended yet."""


@dataclass(frozen=True, slots=True)
class Host:
    """What the machine decides: where namespaces are kept."""

    run_dir: str


@dataclass(slots=True)
class _Book:
    """Gives out network numbers and ports; reuses one only after all others."""

    cursor: int
    taken: set[int]

    def network(self) -> int:
        return self._next(LAST_NETWORK, 0, "networks")

    def port(self) -> int:
        return self._next(PORTS, FIRST_PORT, "ports")

    def _next(self, last: int, offset: int, what: str) -> int:
        for _ in range(last):
            self.cursor = self.cursor % last + 1
            if offset + self.cursor not in self.taken:
                self.taken.add(offset + self.cursor)
                return offset + self.cursor
        raise Failed(f"all {last} {what} for instances are in use", hint="declare fewer instances")


def design(
    system: System,
    pins: Mapping[str, Pin],
    observed: Observed,
    parent: Blueprint,
    host: Host,
    *,
    counting: bool = False,
    unborn: frozenset[str] = frozenset(),
) -> Blueprint:
    """
    Resolve intent into a target that leaves nothing to choose later; *counting* as in a Blueprint.

    What is *unborn* has never served: a release that is the first to call it waits for it.

    Returns *parent* itself when nothing would change, and while the runtimes are silent: what cannot be seen may be
    there, and nothing may be decided about it. A workload that is settled and whose inputs are the same objects as
    last time is taken over unread: one turn over a thousand services costs what has changed.

    Raises `errors.Failed` when this machine has no address left for another instance.
    """
    if "runtime" not in observed.answered:
        return parent
    book: _Book | None = None
    workloads: dict[str, Workload] = {}
    head = (system.name, system.gateway, counting)
    farewell = "the service was removed" if system.services else "the system goes down"  # a file has one at least
    changed = (parent.system, parent.gateway, parent.counting) != head
    for name in _names(system, parent):
        service, before = system.services.get(name), parent.workloads.get(name)
        pin = pins.get(name, _NO_PIN)
        seen, readiness = observed.instances.get(name, _NOTHING), observed.readiness.get(name, _NO_READINESS)
        if before is not None and _same_basis(before.basis, (service, pin, seen, readiness)):
            workloads[name] = before
            continue
        book = book or _Book(parent.cursor, _taken(parent, observed))
        turn = _Turn(service, pin, seen, readiness, observed, host, book, farewell, unborn)
        after = turn.workload(before)
        if after is None:
            changed = True
        else:
            workloads[name] = after
            changed = changed or after != before
    if not changed:
        return (
            parent
            if all(parent.workloads[n] is w for n, w in workloads.items())
            else replace(parent, workloads=workloads)
        )
    cursor = book.cursor if book is not None else parent.cursor
    return Blueprint(system.name, parent.generation + 1, system.gateway, workloads, cursor, counting)


def wake_at(blueprint: Blueprint, observed: Observed) -> float | None:
    """When time alone will change the design: a back-off ends, a start or a drain has taken too long. None: never."""
    times: list[float] = []
    for workload in blueprint.workloads.values():
        if workload.basis is not None:
            continue
        for instance in workload.instances:
            seen = observed.instances.get(workload.service, {}).get(instance.name)
            if instance.stage is Stage.DRAIN:
                times.append(instance.since + instance.recipe.drain)
            elif instance.stage is Stage.START and (seen is None or seen.phase is Phase.CREATED):
                times.append(instance.not_before)
            elif instance.stage is Stage.START and not instance.served and seen is not None:
                times.append(seen.started_at + instance.recipe.health.startup)
    return min((t for t in times if t > observed.at), default=None)


@dataclass(slots=True)
class _Turn:
    """One service's share of one design: the inputs, named once."""

    service: Service | None
    pin: Pin
    seen: Mapping[str, Seen]
    readiness: Mapping[str, Readiness]
    observed: Observed
    host: Host
    book: _Book
    farewell: str
    unborn: frozenset[str]
    last_serial: int = 0
    failures: list[Failure] = field(default_factory=list)

    def workload(self, before: Workload | None) -> Workload | None:
        self.last_serial = before.serial if before is not None else 0
        past = before.instances if before is not None else ()
        present: list[Instance] = []
        self.failures = list(before.failures) if before is not None else []
        remembered = len(self.failures)
        for instance in past:
            after = self._advance(instance)
            if after is not None:
                present.append(after)
            if instance.stage in LIVE and (after is None or after.stage is Stage.STOP):
                seen = self.seen.get(instance.name)
                crashes = crashes_after(instance, seen, self.observed.at)
                why = self.observed.failed.get(instance.name) or _ending(after, seen)
                self.failures.append(Failure(instance.recipe.release, crashes, why))
        failed_runs = self._failed_runs(before, self.failures[remembered:])
        self.failures.sort(key=lambda f: -f.crashes)
        instances = self._settle_counts(present)
        if self.service is None:
            if not instances:
                return None
            assert before is not None  # noqa: S101 - instances of a removed service come from before
            draft = replace(before, instances=instances, routes=(), basis=None)
            return before if draft == before else draft
        split = self._split(before, instances)
        draft = Workload(
            service=self.service.name,
            runtime=self.service.runtime,
            instances=instances,
            routes=self.service.routes,
            calls=self._calls(instances),
            egress=self.service.egress,
            check=self._check(instances, split),
            protocol=self.service.protocol,
            serial=self.last_serial,
            failed_runs=failed_runs,
            split=split,
            flags=bool(self.service.flags),
            shadow=self._shadow(),
            guarded=tuple(self._guarded(before, instances)),
            safe=self.service.compare.safe if self.service.compare is not None else (),
            counts=self.service.rollout.counts,
            failures=tuple(f for f in self.failures if self.pin.target is not None and f.release in self._releases()),
        )
        settled = self._is_settled(instances)
        if before == draft and (before.basis is not None) == settled and not settled:
            return before
        return replace(draft, basis=(self.service, self.pin, self.seen, self.readiness)) if settled else draft

    def _failed_runs(self, before: Workload | None, new: Iterable[Failure]) -> tuple[tuple[int, int], ...]:
        """How many instances failed and had to be replaced: a release that is given up takes its crashes with it."""
        counts = Counter(dict(before.failed_runs) if before is not None else {})
        counts.update(failure.release for failure in new)
        return tuple((release, counts[release]) for release in sorted(self._releases()) if counts[release])

    # --- one instance, one step ---------------------------------------------------------------------------------

    def _advance(self, instance: Instance) -> Instance | None:
        """The instance one step on, or None when it is over."""
        if instance.name in self.observed.failed:
            return None
        seen = self.seen.get(instance.name)
        if seen is None:
            not_yet_made = instance.stage is Stage.START and not instance.served
            return instance if not_yet_made else None
        if seen.phase is Phase.EXITED or (seen.phase is Phase.CREATED and seen.altered):
            return None  # of what has not begun only the place has to go: there is nothing to stop
        return self._step(instance, seen)

    def _step(self, instance: Instance, seen: Seen) -> Instance:
        if instance.stage in LIVE and seen.altered:
            return self._to(instance, Stage.STOP, seen.altered)
        match instance.stage:
            case Stage.START:
                return self._start(instance, seen)
            case Stage.SERVE:
                return self._serve(instance)
            case Stage.DRAIN:
                return self._drain(instance)
            case Stage.STOP:
                return instance

    def _start(self, instance: Instance, seen: Seen) -> Instance:
        if seen.phase is not Phase.RUNNING:
            return instance
        health = self.readiness.get(instance.name)
        waits = first_call(self.pin, instance.recipe, self.unborn)
        if health is not None and health.ready and not waits:
            return self._to(instance, Stage.SERVE, "")
        if health is not None and not health.live:
            return self._to(instance, Stage.STOP, health.reason)
        if instance.served or health is None:
            return instance  # a control plane that has just come back has to ask before it judges
        startup = instance.recipe.health.startup
        if self.observed.at >= seen.started_at + startup:
            why = f"it calls {waits}, which has never served" if health.ready else health.reason
            return self._to(instance, Stage.STOP, f"not ready within {startup:g} s: {why}")
        return instance

    def _serve(self, instance: Instance) -> Instance:
        health = self.readiness.get(instance.name)
        if health is None or health.ready or "probes" not in self.observed.answered:
            return instance
        return self._to(instance, Stage.START if health.live else Stage.STOP, health.reason)

    def _drain(self, instance: Instance) -> Instance:
        mesh = self.observed.mesh
        acknowledged = mesh.accepted.get(instance.name) == Stage.DRAIN
        if acknowledged and mesh.active.get(instance.name) == 0:
            return self._to(instance, Stage.STOP, instance.reason)
        if self.observed.at >= instance.since + instance.recipe.drain:
            return self._to(instance, Stage.STOP, f"{instance.reason}; its drain time is over")
        return instance

    def _to(self, instance: Instance, stage: Stage, reason: str) -> Instance:
        now = self.observed.at
        served = instance.served or (now if stage is Stage.SERVE else 0.0)
        return replace(instance, stage=stage, since=now, reason=reason, served=served)

    # --- how many of what ---------------------------------------------------------------------------------------

    def _settle_counts(self, present: Sequence[Instance]) -> tuple[Instance, ...]:
        """Retire what is too much, add what is missing. Keeps the order: oldest first."""
        result = [i for i in present if i.stage not in LIVE]
        live = sorted((i for i in present if i.stage in LIVE), key=self._least_dispensable)
        goal = self.pin.newest
        release = goal.release if goal is not None else None
        new = [i for i in live if i.recipe.release == release]
        others = [i for i in live if i.recipe.release != release]
        old = [i for i in others if self._may_stay(i)]
        hopeless = [i for i in others if not self._may_stay(i)]
        new_count, old_count = self._wanted(new, old)
        retired = (self._retire(i) for i in (*new[new_count:], *old[old_count:], *hopeless))
        result += (*new[:new_count], *old[:old_count], *(r for r in retired if r is not None))
        result += self._added(self._former(), old_count - len(old))
        result += self._added(goal, new_count - len(new))
        return tuple(sorted(result, key=lambda i: i.serial))

    def _wanted(self, new: Sequence[Instance], old: Sequence[Instance]) -> tuple[int, int]:
        """
        How many instances of the release that is wanted, and how many others until it is in place.

        Others go when the proxies have *taken* new ones, and come only when too few new ones *serve*: in between, and
        so also while the proxies are silent, they stay as they are. Together they are never more than the declared
        number and the surge, as long as there is an old one that serves.
        """
        if self.service is None or self.pin.newest is None:
            return 0, 0
        total, surge = self.service.instances, max(1, self.service.rollout.surge)
        if self.pin.progress is not None:
            return self.pin.progress.size, total
        serving = sum(i.stage is Stage.SERVE for i in new)
        taken = sum(self._accepted(i) for i in new)
        missing = total - serving if self._former() is not None else 0
        others = min(max(len(old), missing), max(0, total - taken))
        count = min(total, total + surge - others) if any(i.stage is Stage.SERVE for i in old) else total
        if any(i.stage is Stage.SERVE and i.name not in self.readiness for i in (*new, *old)):
            return max(count, len(new)), max(others, len(old))  # nobody goes before it is known who would be left
        return count, others

    def _split(self, before: Workload | None, instances: Sequence[Instance]) -> Split | None:
        """
        How traffic is divided while two releases stand side by side.

        What was taken back keeps its place, with no share, until its last open request has ended: without it the
        proxies would forget them.
        """
        progress, stable = self.pin.progress, self.pin.stable
        if stable is None or self.service is None:
            return None
        if progress is None:
            was = before.split if before is not None else None
            ends = (
                was is not None
                and was.stable == stable.release
                and any(i.recipe.release == was.next and i.stage is Stage.DRAIN for i in instances)
            )
            return replace(was, weight=0, both=False) if was is not None and ends else None
        both = progress.state is State.BAKING
        check = self.pin.target.health.ready if self.pin.target is not None else None
        return Split(stable.release, progress.release, progress.shown, self.service.rollout.key, both, check)

    def _calls(self, instances: Iterable[Instance]) -> tuple[Call, ...]:
        """
        Whom the file allows to call, and whom a release that is still there was made to.

        An instance that was good does not start to fail because the release after it needs less. How it calls is for
        the file to say, as long as that says anything.
        """
        assert self.service is not None  # noqa: S101 - a removed service calls whom it called
        declared = {call.service for call in self.service.calls}
        found = (call for i in instances for call in i.recipe.calls or () if call.service not in declared)
        former = {call.service: call for call in found}
        return (*self.service.calls, *(former[name] for name in sorted(former)))

    def _check(self, instances: Iterable[Instance], split: Split | None) -> Check | None:
        """
        How the proxies ask the endpoints of the stable release, or of all, where these are all asked alike.

        One cluster has one check: a release with another one would fail that of the release before it, or the other
        way round. Until it has replaced that it is for the control plane alone to ask.
        """
        alone = split.stable if split is not None and not split.both else None
        endpoints = (i.recipe for i in instances if i.stage in {Stage.SERVE, Stage.DRAIN})
        found = {one.health.ready for one in endpoints if alone in {None, one.release}}
        wanted = self.pin.stable or self.pin.target
        if not found and wanted is not None:
            return wanted.health.ready
        return found.pop() if len(found) == 1 else None

    def _shadow(self) -> Shadow | None:
        """What is copied to the next release while its answers are compared."""
        progress, compare = self.pin.progress, self.service.compare if self.service is not None else None
        if progress is None or compare is None or progress.state not in COMPARED or self.pin.stable is None:
            return None
        return Shadow(progress.release, compare.share, compare.concurrency)

    def _guarded(self, before: Workload | None, instances: Sequence[Instance]) -> Iterator[int]:
        """
        Releases that may change nothing: those that are compared, and those that were, and were rejected.

        What such a release has put off, a retry or a queue, would reach others for real in the time that it takes to
        end. One that goes on is free as soon as it grows, before it gets its first users: they are refused nothing.
        """
        progress, stable = self.pin.progress, self.pin.stable
        was = set(before.guarded) if before is not None else set()
        found = was & {i.recipe.release for i in instances} - {stable.release if stable is not None else 0}
        if progress is not None and progress.state in COMPARED:
            found.add(progress.release)
        elif progress is not None and progress.state not in _GONE:
            found.discard(progress.release)
        yield from sorted(found)

    def _former(self) -> Recipe | None:
        """What to go back to while a rollout is under way."""
        return self.pin.stable if self.pin.target is not None else None

    def _may_stay(self, instance: Instance) -> bool:
        """Whether an instance of another release than the wanted one is worth keeping until it is replaced."""
        former = self._former()
        if self.pin.progress is not None:
            return former is not None and instance.recipe.release == former.release
        return instance.stage is Stage.SERVE or (former is not None and instance.recipe.release == former.release)

    def _accepted(self, instance: Instance) -> bool:
        """The proxies send it requests, and its health was asked since this control plane began."""
        known = instance.stage is Stage.SERVE and instance.name in self.readiness
        return known and self.observed.mesh.accepted.get(instance.name) == Stage.SERVE

    def _least_dispensable(self, instance: Instance) -> tuple[bool, bool, int]:
        return instance.stage is not Stage.SERVE, not self._accepted(instance), instance.serial

    def _added(self, recipe: Recipe | None, count: int) -> Iterator[Instance]:
        """New instances; the first ones replace the worst of those that failed."""
        if recipe is None:
            return
        for _ in range(count):
            failure = next((f for f in self.failures if f.release == recipe.release), _NO_FAILURE)
            if failure is not _NO_FAILURE:
                self.failures.remove(failure)
            yield self._new(recipe, failure.crashes, failure.reason)

    def _releases(self) -> set[int]:
        return {r.release for r in (self.pin.stable, self.pin.target) if r is not None}

    def _retire(self, instance: Instance) -> Instance | None:
        seen = self.seen.get(instance.name)
        if seen is None or seen.phase is Phase.CREATED:
            return None
        why = "it is no longer wanted"
        if self.service is None:
            why = self.farewell
        elif self.pin.newest is not None and instance.recipe.release != self.pin.newest.release:
            why = f"release {self.pin.newest.release} replaces it"
        return self._to(instance, Stage.DRAIN if instance.served else Stage.STOP, why)

    def _new(self, recipe: Recipe, crashes: int, why: str) -> Instance:
        assert self.service is not None  # noqa: S101 - nothing is added to a removed service
        self.last_serial += 1
        name = f"{recipe.service}-r{recipe.release}-{self.last_serial}"
        env: tuple[tuple[str, str], ...]
        if recipe.runtime is RuntimeKind.SANDBOX:
            network = self.book.network()
            address = Address(instance_address(network), SANDBOX_PORT)
            outlets: tuple[Outlet, ...] = (Outlet(Address("127.0.0.1", 80), netns=f"{self.host.run_dir}/netns/{name}"),)
            env = (("HOST", "0.0.0.0"), ("PORT", str(SANDBOX_PORT)))  # noqa: S104 - the whole of its own namespace
        else:
            network = 0
            address = Address("127.0.0.1", self.book.port())
            calls = recipe.allowed(self.service.calls)
            callees = [call.service for call in calls] + [FLAGS] * bool(self.service.flags)
            outlets = tuple(Outlet(Address("127.0.0.1", self.book.port()), callee) for callee in callees)
            env = (("HOST", address.ip), ("PORT", str(address.port)), *_urls(outlets))
        now = self.observed.at
        return Instance(
            name=name,
            recipe=recipe,
            serial=self.last_serial,
            network=network,
            address=address,
            outlets=outlets,
            env=(("ATOLL_INSTANCE_NAME", name), *env),
            stage=Stage.START,
            since=now,
            reason=why,
            crashes=crashes,
            not_before=now + delay(crashes, name),
        )

    def _is_settled(self, instances: Sequence[Instance]) -> bool:
        """Nothing is going on and nothing is owed: the same inputs would give the same workload and no action."""
        newest = self.pin.newest
        return (
            self.pin.target is None
            and len(self.seen) == len(instances)
            and all(
                i.stage is Stage.SERVE
                and (s := self.seen.get(i.name)) is not None
                and s.phase is Phase.RUNNING
                and i.recipe.release == (newest.release if newest is not None else 0)
                and self._accepted(i)
                for i in instances
            )
        )


def first_call(pin: Pin, recipe: Recipe, unborn: Collection[str]) -> str:
    """
    A service among the *unborn* that this release calls and the stable one does not; empty where there is none.

    A release that gets traffic before that serves would fail where the one before it does not.
    """
    if pin.stable is None or pin.stable.calls is None or recipe.release == pin.stable.release:
        return ""
    new = (call.service for call in recipe.calls or () if not pin.stable.may_call(call.service))
    return next((service for service in new if service in unborn), "")


_NO_PIN = Pin()
_NO_FAILURE = Failure(0, 0, "")
_NOTHING: Mapping[str, Seen] = {}
_NO_READINESS: Mapping[str, Readiness] = {}


def _urls(outlets: Iterable[Outlet]) -> Iterator[tuple[str, str]]:
    """Where a plain process finds whom it may call, by variable."""
    for outlet in outlets:
        assert outlet.callee is not None  # noqa: S101 - only a sandbox has one for all
        names = FLAG_VARIABLES if outlet.callee == FLAGS else (url_variable(outlet.callee),)
        yield from ((name, f"http://127.0.0.1:{outlet.address.port}") for name in names)


def _ending(after: Instance | None, seen: Seen | None) -> str:
    """Why an instance has to be replaced, in words."""
    if after is not None:
        return after.reason
    if seen is None or seen.exit is None:
        return (seen.altered if seen is not None else "") or "it vanished"
    return describe_failure(seen.exit)


def _names(system: System, parent: Blueprint) -> Iterable[str]:
    yield from system.services
    yield from (name for name in parent.workloads if name not in system.services)


def _same_basis(basis: object, inputs: tuple[object, ...]) -> bool:
    return isinstance(basis, tuple) and all(a is b for a, b in zip(basis, inputs, strict=True))


def _taken(parent: Blueprint, observed: Observed) -> set[int]:
    taken = set(observed.busy_ports)
    for workload in parent.workloads.values():
        for instance in workload.instances:
            taken.add(instance.network or instance.address.port)
            if not instance.network:
                taken.update(o.address.port for o in instance.outlets)
    return taken
