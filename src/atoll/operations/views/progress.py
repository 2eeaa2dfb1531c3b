"""A release on its way to users, as people see it."""

from __future__ import annotations

from collections.abc import Mapping

from atoll import wire
from atoll.model.system import System
from atoll.plan.decisions import Pin
from atoll.plan.releasing import JUDGED, allowed


def progress(system: System | None, pins: Mapping[str, Pin]) -> tuple[wire.ProgressView, ...]:
    """All of them."""
    if system is None:
        return ()
    on_their_way = {name: pin for name, pin in pins.items() if pin.progress is not None and name in system.services}
    return tuple(progress_view(name, pin, system) for name, pin in on_their_way.items())


def progress_view(service: str, pin: Pin, system: System) -> wire.ProgressView:
    """One of them; *pin* has a progress."""
    found = pin.progress
    assert found is not None  # noqa: S101 - the caller has looked
    return wire.ProgressView(
        service=service,
        release=found.release,
        stable=pin.stable.release if pin.stable is not None else None,
        state=found.state,
        weight=found.shown,
        step=found.step + 1,
        steps=len(system.services[service].rollout.steps) + 1,
        since=found.since,
        reason=found.reason,
        allowed=tuple(allowed(found.state)),
        evidence=found.said if found.state in JUDGED else "",
    )
