"""Everything the views look at, taken at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atoll import wire
from atoll.model.system import System
from atoll.plan.blueprint import Blueprint
from atoll.plan.decisions import Pin
from atoll.plan.observed import Observed


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The system as it is wanted, as it is, and how busy it is (by service, by instance)."""

    system: System | None
    pins: Mapping[str, Pin]
    blueprint: Blueprint
    observed: Observed
    converged: bool
    change: wire.ChangeView | None
    rates: Mapping[str, wire.Rates]
    loads: Mapping[str, wire.Load]
    building: Mapping[str, str]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
