"""What people may ask for: apply, deploy, roll back, take down. Each queues one change or refuses, whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from atoll import wire
from atoll.errors import Conflict, Refused
from atoll.model.load import loads
from atoll.model.system import Rollout, System
from atoll.operations.flag_edits import definition
from atoll.operations.views.progress import coming, flag_progress, progress_view
from atoll.plan.flag_release import flag_of, subject
from atoll.plan.past import earlier, held, told
from atoll.plan.preview import Kind, preview
from atoll.plan.releasing import EXPOSED, PEOPLE, Progress, Signal, refuse_second, step
from atoll.store.store import Change, Store, may_be_cancelled
from atoll.values.hashing import digest
from atoll.values.nearest import nearest

_PARTS = ("somebody asked for something else", "the file changed", "a source changed")
"""What a plan depends on, in the order in which its index holds it."""
_UNAPPLIED = "is not in what was applied last"
_LENGTH = 6


def _index(number: int, *parts: bytes) -> str:
    """Names exactly one plan; each part of what it depends on has its place, so that it can be said which changed."""
    return f"{number}-{''.join(digest(part)[:_LENGTH] for part in parts)}"


def _outdated(seen: str, now: str) -> str:
    """Why a plan is not what it was when it was *seen*."""
    before, after = (index.partition("-")[2] for index in (seen, now))
    if len(before) != len(after):
        return f"{seen} is the index of no plan of this file"
    places = ((i * _LENGTH, (i + 1) * _LENGTH, words) for i, words in enumerate(_PARTS))
    changed = " and ".join(words for begin, end, words in places if before[begin:end] != after[begin:end])
    return changed or f"it was {seen}, and is {now}"


def standing(store: Store, change: Change) -> wire.ChangeView:
    """A change as people see it; of one that is queued also what it waits for."""
    view = change.view()
    before = (one for one in store.open_changes() if one.number < change.number)
    ahead = next(before, None) if change.state == "queued" else None
    if ahead is None:
        return view
    return replace(view, reason=f"waits for change {ahead.number} ({ahead.kind}), which is {ahead.state}")


@dataclass(frozen=True, slots=True)
class Desk:
    """
    Where requests are handed in.

    `digests` gives the artifact that each source would build to now, and refuses where one cannot be used; `refusals`
    says why a system cannot run on this host (a taken port, no sandboxes), one sentence each; `poke` wakes the engine.
    """

    store: Store
    digests: Callable[[System], Awaitable[Mapping[str, str]]]
    refusals: Callable[[System], tuple[str, ...]]
    poke: Callable[[], None]
    clock: Callable[[], float]

    async def plan(self, request: wire.ApplyRequest) -> wire.PlanView:
        """
        What applying this file would do now.

        Raises `model.problems.InvalidSystem` for a wrong file.
        """
        system = loads(request.text, file=request.file, directory=request.directory)
        plan = await self._plan(system, request.text)
        refused = tuple(f"it would be refused now: {one}" for one in self._obstacles(system, plan))
        return replace(plan, held=(*plan.held, *refused))

    async def apply(self, request: wire.ApplyRequest) -> wire.Receipt:
        """
        Queue what the file asks for; nothing where it asks for nothing new.

        Raises `errors.Conflict` when the plan is not the one that was seen any more, `errors.Refused` when this host
        cannot run it.
        """
        system = loads(request.text, file=request.file, directory=request.directory)
        plan = await self._plan(system, request.text)
        if request.index is not None and request.index != plan.index:
            raise Conflict(
                f"the plan has changed since it was shown: {_outdated(request.index, plan.index)}",
                hint="look again with `atoll plan`, then apply",
            )
        if not plan.differences:
            return wire.Receipt(None, plan)
        self._free(d.subject for d in plan.differences if d.kind is Kind.RELEASE)
        self._check(system)
        services = tuple(dict.fromkeys(d.subject for d in plan.differences if d.subject != "gateway"))
        return wire.Receipt(self._queue("apply", services, wire.encode(request)), plan)

    def deploy(self, request: wire.ApplyRequest) -> wire.Receipt:
        """Queue a new release of the named services, also where nothing changed."""
        system = loads(request.text, file=request.file, directory=request.directory)
        self._known(system, request.services)
        _, current = self.store.system()
        if current is None:
            raise Refused("nothing runs here yet", hint="apply the whole file first: atoll apply")
        new = [n for n in request.services if n not in current.services]
        if new:
            raise Refused(f"{', '.join(new)} {_UNAPPLIED}", hint="apply the whole file first: atoll apply")
        # Nothing could answer what is only in the file yet.
        calls = ((name, call.service) for name in request.services for call in system.services[name].calls)
        unmet = [f"{name} calls {to}, which {_UNAPPLIED}" for name, to in calls if to not in current.services]
        if unmet:
            raise Refused("\n".join(unmet), hint="apply the whole file: atoll apply")
        self._free(request.services)
        self._check(system)
        return wire.Receipt(self._queue("deploy", request.services, wire.encode(request)))

    def rollback(self, service: str) -> wire.Receipt:
        """Queue the release that served before the one that serves now."""
        _, current = self.store.system()
        if current is None:
            raise Refused("nothing runs here yet", hint="apply the file first: atoll apply")
        self._known(current, (service,))
        self._free((service,))
        if current.services[service].rollout.rollback != "safe":
            raise Refused(
                f"{service} is forward-only: nobody is sent back to an earlier release",
                hint=f"deploy a mended one: atoll deploy {service}; or, where the way back is open, apply the file with"
                " release.rollback: safe",
            )
        on = self.store.pin(service).newest
        if on is None or earlier(self.store.past(service), on) is None:
            raise Refused(
                f"{service} has no earlier release that has served and is another one",
                hint=f"see them with `atoll releases {service}`",
            )
        return wire.Receipt(self._queue("rollback", (service,), b"{}"))

    def steer(self, request: wire.SteerRequest) -> wire.ProgressView:
        """
        Ask something of a release that moves traffic in steps: release, promote, hold, resume or abort it.

        One that replaces instance by instance, or whose change has not taken effect yet, can only be aborted. Raises
        `errors.Refused` where what is asked means nothing in its state, or the way back is closed.
        """
        flag = flag_of(request.service)
        if flag is not None:
            return self._steer_flag(flag, request)
        coming = self._coming(request.service)
        if coming is not None:
            return self._take_back(request, coming)
        _, current = self.store.system()
        if current is None:
            raise Refused("nothing runs here yet", hint="apply the file first: atoll apply")
        self._known(current, (request.service,), self._flags())
        progress = self.store.pin(request.service).progress
        if progress is None:
            hint = f"deploy one: atoll deploy {request.service} (with release.strategy canary or blue-green)"
            raise Refused(f"no release of {request.service} is on its way", hint=hint)
        rollout, total = current.services[request.service].rollout, current.services[request.service].instances
        if request.signal == Signal.ABORT and progress.state in EXPOSED and rollout.rollback != "safe":
            raise Refused(
                f"{request.service} is forward-only: release {progress.release} cannot be taken back",
                hint=f"deploy a mended one once it is through: atoll promote {request.service}",
            )
        self._ask(request, progress, rollout, total)
        return progress_view(request.service, self.store.pin(request.service), current)

    def _coming(self, service: str) -> wire.ProgressView | None:
        """A release that is on its way without a share of traffic of its own; None where there is no such."""
        pin = self.store.pin(service)
        waiting = (one for one in self.store.open_changes() if may_be_cancelled(one, service))
        change = next(waiting, None) if pin.target is None else None
        if pin.progress is not None or (pin.target is None and change is None):
            return None
        return coming(service, pin, change.view() if change is not None else None)

    def _take_back(self, request: wire.SteerRequest, view: wire.ProgressView) -> wire.ProgressView:
        if request.signal != Signal.ABORT:
            what = f"release {view.release} of {view.service}" if view.release else view.reason
            hint = f"what can be done now: atoll abort {view.service}"
            raise Refused(f"{what} is {view.state}: {request.signal} means nothing there", hint=hint)
        self.store.ask(request.service, request.signal, request.actor, request.reason, self.clock())
        self.poke()
        return view

    def _steer_flag(self, flag: str, request: wire.SteerRequest) -> wire.ProgressView:
        release = self.store.flags.releases.find(flag)
        if release is None:
            definition(self.store.flags.document(), flag)
            hint = f"begin one: atoll flags release {flag} --to VARIANT"
            raise Refused(f"no release of the flag {flag} is on its way", hint=hint)
        self._ask(request, release.progress, release.rollout, 0)
        return flag_progress(release)

    def _ask(self, request: wire.SteerRequest, progress: Progress, rollout: Rollout, total: int) -> None:
        if request.signal not in PEOPLE:
            raise Refused(f"a release knows no {request.signal!r}", hint=f"write {', '.join(PEOPLE)}")
        step(progress, Signal(request.signal), rollout, total, self.clock(), request.reason)  # or it is refused
        self.store.ask(request.service, request.signal, request.actor, request.reason, self.clock())
        self.poke()

    def down(self) -> wire.Receipt:
        """Queue the end of everything. What is on its way then is cancelled, and not waited for."""
        _, current = self.store.system()
        services = tuple(current.services) if current is not None else ()
        return wire.Receipt(self._queue("down", services, b"{}"))

    def change(self, number: int) -> wire.ChangeView:
        """Where a change stands. Raises `errors.Refused` where there is none of that number."""
        found = self.store.change(number)
        if found is None:
            raise Refused(f"there is no change {number}")
        return standing(self.store, found)

    def recognise(self, service: str) -> None:
        """Raise `errors.Refused` with the nearest name where there never was such a service, or flag (`flag:NAME`)."""
        flag = flag_of(service)
        if flag is not None:
            definition(self.store.flags.document(), flag)
            return
        _, current = self.store.system()
        if current is None:
            raise Refused("nothing runs here yet", hint="apply the file first: atoll apply")
        if not self.store.releases(service):
            self._known(current, (service,), self._flags())

    def _queue(self, kind: str, services: tuple[str, ...], request: bytes) -> wire.ChangeView:
        change = self.store.request(kind, services, request, self.clock())
        self.poke()
        return change.view()

    async def _plan(self, system: System, text: str) -> wire.PlanView:
        digests = await self.digests(system)
        # Only now, as that takes a while, and with nothing to wait for until a change is queued: others change it, too.
        number, current = self.store.system()
        last = self.store.last_change()
        asked = f"{number} {last.number if last else 0}"
        index = _index(number, asked.encode(), text.encode(), wire.encode(dict(sorted(digests.items()))))
        pins = self.store.pins()
        back = held(system, pins, digests, self.store.past)
        differences = preview(current, system, pins, digests, back, self.store.failing())
        kept = () if current is None else tuple(n for n in current.retained if n not in system.services)
        stays = tuple(f"{name}: it is not in the file any more, and goes once nothing needs it" for name in kept)
        return wire.PlanView(index, differences, system.warnings, (*told(back), *stays))

    def _obstacles(self, system: System, plan: wire.PlanView) -> Iterator[str]:
        """Why applying this would be refused, as it is on this host or while something is on its way."""
        yield from self.refusals(system)
        try:
            self._free(d.subject for d in plan.differences if d.kind is Kind.RELEASE)
        except Refused as error:
            yield error.message

    def _check(self, system: System) -> None:
        refusals = self.refusals(system)
        if refusals:
            raise Refused("\n".join(refusals))

    def _free(self, services: Iterable[str]) -> None:
        for service in services:
            refuse_second(service, self.store.pin(service).progress)

    def _flags(self) -> Collection[str]:
        flags: Collection[str] = self.store.flags.document()["flags"]
        return flags

    def _known(self, system: System, names: tuple[str, ...], flags: Collection[str] = ()) -> None:
        """Refuse what is no service, with the nearest name, or that of the flag among *flags* that is meant."""
        for name in names:
            if name not in system.services:
                close = subject(name) if name in flags else nearest(name, system.services)
                raise Refused(
                    f"there is no service {name!r} in {system.name}",
                    hint=f"did you mean {close}?" if close else f"services: {', '.join(system.services)}",
                )
