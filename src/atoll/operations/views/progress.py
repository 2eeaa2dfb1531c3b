"""A release on its way to users, as people see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from atoll import wire
from atoll.model.system import System
from atoll.plan.decisions import Pin
from atoll.plan.flag_release import FlagRelease, subject
from atoll.plan.releasing import JUDGED, Progress, Signal, allowed


def progress(
    system: System | None, pins: Mapping[str, Pin], flags: Iterable[FlagRelease]
) -> tuple[wire.ProgressView, ...]:
    """All of them, those of flags last."""
    known = system.services if system is not None else {}
    on_their_way = {name: pin for name, pin in pins.items() if pin.progress is not None and name in known}
    services = [progress_view(name, pin, system) for name, pin in on_their_way.items() if system is not None]
    return (*services, *map(flag_progress, flags))


def flag_progress(release: FlagRelease) -> wire.ProgressView:
    """That of a flag."""
    return _view(subject(release.flag), release.progress, None, len(release.rollout.steps))


def progress_view(service: str, pin: Pin, system: System) -> wire.ProgressView:
    """One of them; *pin* has a progress."""
    found = pin.progress
    assert found is not None  # noqa: S101 - the caller has looked
    stable = pin.stable.release if pin.stable is not None else None
    return _view(service, found, stable, len(system.services[service].rollout.steps))


def staged(
    releases: Iterable[wire.ReleaseView], on_their_way: Iterable[wire.ProgressView]
) -> tuple[wire.ReleaseView, ...]:
    """The releases, those that go in steps in the state that they are in on their way."""
    states = {(p.service, p.release): p.state for p in on_their_way}
    return tuple(replace(r, state=states.get((r.service, r.number), r.state)) for r in releases)


def coming(service: str, pin: Pin, change: wire.ChangeView | None) -> wire.ProgressView:
    """A release that replaces instance by instance; or *change*, which has not taken effect yet (release 0)."""
    return wire.ProgressView(
        service=service,
        release=pin.target.release if pin.target is not None else 0,
        stable=pin.stable.release if pin.stable is not None else None,
        state=change.state if change is not None else "rolling",
        weight=0,
        step=0,
        steps=0,
        since=change.at if change is not None else 0.0,
        reason=f"change {change.number} ({change.kind})" if change is not None else "it replaces instance by instance",
        allowed=(Signal.ABORT,),
    )


def _view(name: str, found: Progress, stable: int | None, steps: int) -> wire.ProgressView:
    return wire.ProgressView(
        service=name,
        release=found.release,
        stable=stable,
        state=found.state,
        weight=found.shown,
        step=found.step + 1,
        steps=steps + 1,
        since=found.since,
        reason=found.reason,
        allowed=tuple(allowed(found.state)),
        evidence=found.said if found.weight and found.state in JUDGED else "",
    )
