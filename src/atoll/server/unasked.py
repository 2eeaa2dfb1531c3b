"""What can be said while no control plane answers: from what the last one wrote down, without looking at what runs."""

from __future__ import annotations

from contextlib import closing

from atoll import wire
from atoll.drivers.builders.build import builder
from atoll.errors import Unavailable
from atoll.model.system import System
from atoll.plan.past import held, told
from atoll.plan.preview import preview
from atoll.server.settings import Settings
from atoll.server.sources import digests
from atoll.store.store import OPEN, Store

RECORDED = (
    "no control plane answers here, and nobody has looked at what runs: this is against what was applied last, as it"
    " was written down (`atoll up` starts a control plane)"
)
NOTHING = "no control plane answers here: this is against nothing (`atoll up` starts one)"


def plan(places: Settings, wanted: System) -> wire.PlanView:
    """
    What applying *wanted* would do, with how little is known of that; without an index, as nothing can be applied.

    Raises `errors.Unavailable` where what was written down cannot be read, `errors.Refused` where a source cannot be
    used.
    """
    sources = builder(places.artifacts, places.logs)
    if not places.database.exists():
        return wire.PlanView("", preview(None, wanted, {}, digests(sources, wanted)), (NOTHING, *wanted.warnings))
    with closing(Store(places.database, look=True)) as store:
        current, pins = store.system()[1], store.pins()
        now = digests(sources, wanted)
        back = held(wanted, pins, now, store.past)
    note = RECORDED if current is not None and current.services else NOTHING
    return wire.PlanView("", preview(current, wanted, pins, now, back), (note, *wanted.warnings), told(back))


def how_it_ended(places: Settings, number: int) -> wire.ChangeView | None:
    """A change that was over when the control plane ended; None where it was not, or where nothing can be read."""
    try:
        with closing(Store(places.database, look=True)) as store:
            found = store.change(number)
    except Unavailable:
        return None
    return found.view() if found is not None and found.state not in OPEN else None
