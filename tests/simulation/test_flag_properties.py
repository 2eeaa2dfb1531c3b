"""Whatever people ask, in whatever order, with crashes and full disks between: no illegal state, no lost flag."""

from __future__ import annotations

import asyncio
import json
import tempfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll import wire
from atoll.engine.flag_releasing import FlagReleasing
from atoll.errors import AtollError, Unavailable
from atoll.kit.flags import everybody, revived, shares
from atoll.operations.changes import Desk
from atoll.operations.flags import FlagDesk
from atoll.plan.releasing import ALL, PEOPLE, TRANSITIONS, Signal, State
from atoll.ports import FlagCalls
from atoll.store.store import Store

META = {"owner": "team-a", "kind": "release", "expires": "2099-01-31", "killVariant": "off"}
OFF = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": META}
STEPS = (wire.FlagStep(10, 3.0), wire.FlagStep(50, 3.0))

# Where the weight decides: at the last step there is no canary, before the first nothing to hold.
INSTEAD = {(State.GROWING, Signal.READY): State.FULL, (State.GROWING, Signal.HOLD): State.DARK}
OFTEN = ("turn", "turn", "turn", "turn", "calls", "begin", "begin", "full disk")
ACTS = (*OFTEN, "bad calls", "crash", "kill", "revive", *PEOPLE)


class House:
    """A control plane that can die between any two things it does."""

    def __init__(self, path):
        self.path, self.now, self.totals, self.full, self.killed = path, 1000.0, {}, False, False
        self.store = Store(path)
        self.desk = FlagDesk(self.store, lambda _: None, lambda: self.now)
        asyncio.run(self.desk.write(wire.FlagWrite(json.dumps({"flags": {"new": OFF}}), "ada", "")))
        self.wake()

    def wake(self):
        async def flag_calls():
            return tuple(FlagCalls("mesh", "10.0.0.1", 80, "new", variant, *n) for variant, n in self.totals.items())

        parts = SimpleNamespace(store=self.store, mesh=SimpleNamespace(flag_calls=flag_calls), clock=lambda: self.now)
        self.releasing = FlagReleasing(parts, lambda _: None, lambda: None)
        self.desk = FlagDesk(self.store, lambda _: None, lambda: self.now)
        self.steering = Desk(self.store, None, lambda _: (), lambda: None, lambda: self.now)
        write = self.store.flags.write

        def sometimes(*given, **named):
            if self.full:
                self.full = False
                raise Unavailable("the disk is full")
            return write(*given, **named)

        self.store.flags.write = sometimes

    def do(self, act):
        if act == "turn":
            self.now += 1.0
            asyncio.run(self.releasing.look())
            self.releasing.step()
        elif act == "crash":
            self.store.close()
            self.store = Store(self.path)
            self.wake()
        elif act in {"calls", "bad calls"}:
            for variant in ("on", "off"):
                good, bad = self.totals.get(variant, (0, 0))
                failed = 100 * (act == "bad calls" and variant == "on")
                self.totals[variant] = (good + 200 - failed, bad + failed)
        elif act == "full disk":
            self.full = True
        elif act == "begin":
            asyncio.run(self.desk.release(wire.FlagReleaseRequest("new", "on", "ada", "", steps=STEPS, bake=2.0)))
        elif act in {"kill", "revive"}:
            asyncio.run(self.desk.change(wire.FlagChange("new", act, "ada", "")))
            self.killed = act == "kill"
        else:
            self.steering.steer(wire.SteerRequest("flag:new", act, "ada"))

    def check(self):
        rows = self.store._db.execute("SELECT source, signal, target FROM transitions WHERE signal != 'begin'")
        for source, signal, target in rows:
            wanted = TRANSITIONS[State(source), Signal(signal)]
            assert target in {wanted, INSTEAD.get((source, signal), wanted)}
        assert self.flag["metadata"].get("killed", False) is self.killed, "only a person brings it back"

    @property
    def flag(self):
        return self.store.flags.current().document()["flags"]["new"]


@settings(max_examples=120)
@given(st.lists(st.sampled_from(ACTS), max_size=40))
def test_no_order_of_things_leads_anywhere_else(acts):
    with tempfile.TemporaryDirectory() as directory:
        house = House(Path(directory) / "state.db")
        for act in acts:
            with suppress(AtollError):  # refused, in words
                house.do(act)
            house.check()
        house.full = False
        settle(house)
        house.store.close()


def settle(house):
    """In the end the flag is what its last release came to, or what a kill made of it."""
    release = house.store.flags.releases.find("new")
    if release is not None:
        for _ in range(3):
            house.do("turn")
        release = house.store.flags.releases.find("new")
    if house.flag["metadata"].get("killed"):
        assert (everybody(house.flag), release) == ("off", None)
        alive = revived(house.store.flags.current().document(), "new")["flags"]["new"]
        assert (shares(alive) or {}).get("on", 0.0) in {0.0, float(ALL)}, "it comes back as a step on the way"
    elif release is not None:
        assert (shares(house.flag) or {}).get("on", 0.0) == float(release.progress.shown)
    elif not house.store.flags.releases.views():
        assert house.flag == OFF
    else:
        assert (shares(house.flag) or {}).get("on", 0.0) in {0.0, float(ALL)}


def test_the_check_would_see_it(tmp_path):
    house = House(tmp_path / "state.db")
    house.store._db.execute("INSERT INTO transitions VALUES (1, 0, 'flag:new', 1, 'dark', 'baking', 'baked', 'x', 'y')")
    with pytest.raises(KeyError):
        house.check()
    house.store.close()
