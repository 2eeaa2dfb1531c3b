"""Releases of flags in the store: one at a time, found again after a restart, with who moved them and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll import wire
from atoll.errors import Conflict
from atoll.model.system import Rollout, Step
from atoll.plan.flag_release import FlagRelease, dark
from atoll.plan.releasing import State
from atoll.store.store import Store
from atoll.store.transitions import Transition

ROLLOUT = Rollout(strategy="canary", steps=(Step(5), Step(50)))
RELEASE = FlagRelease("new", "on", "off", ROLLOUT, '{"variants":{}}', dark(0, 1.0))


def transitions(store):
    return store._db.execute(
        "SELECT service, release, source, target, signal, actor, reason FROM transitions"
    ).fetchall()


def test_one_begins_dark_with_the_next_number_and_is_found_again(store, path):
    begun = store.flags.releases.begin(RELEASE, "ada", "it is time", 1.0)
    assert (begun.progress.release, begun.progress.state, begun.progress.asked) == (1, State.DARK, True)
    store.close()
    again = Store(path)
    assert again.flags.releases.on_their_way() == (begun,)
    assert again.flags.releases.find("new") == begun
    assert transitions(again) == [("flag:new", 1, "dark", "dark", "begin", "ada", "it is time")]
    again.close()


def test_two_of_one_flag_are_refused_and_two_of_two_flags_are_not(store):
    store.flags.releases.begin(RELEASE, "ada", "", 1.0)
    store.flags.releases.begin(replace(RELEASE, flag="other"), "ada", "", 1.0)
    with pytest.raises(Conflict, match="on its way already"):
        store.flags.releases.begin(RELEASE, "bob", "", 2.0)
    assert [r.flag for r in store.flags.releases.on_their_way()] == ["new", "other"]


def test_a_transition_takes_its_signal_out_and_a_second_one_from_there_is_a_conflict(store):
    release = store.flags.releases.begin(RELEASE, "ada", "", 1.0)
    store.ask("flag:new", "abort", "bob", "no", 2.0)
    (asked,) = store.asked()
    after = replace(release.progress, state=State.ABORTING, weight=0)
    moved = store.flags.releases.transit(asked, release, after, 3.0)
    assert (store.asked(), moved.progress, store.flags.releases.find("new")) == ((), after, moved)
    with pytest.raises(Conflict, match="release 1 is not dark any more"):
        store.flags.releases.transit(Transition("flag:new", "release", "atoll", ""), release, after, 4.0)
    assert [row[3:] for row in transitions(store)] == [("dark", "begin", "ada", ""), ("aborting", "abort", "bob", "no")]


def test_one_that_is_over_makes_room_for_the_next(store):
    release = store.flags.releases.begin(RELEASE, "ada", "", 1.0)
    over = replace(release.progress, state=State.RELEASED)
    store.flags.releases.transit(Transition("flag:new", "baked", "atoll", "it went well"), release, over, 3.0)
    assert store.flags.releases.on_their_way() == ()
    first = wire.ReleaseView("flag:new", 1, 1.0, "", "released", "it went well")
    assert store.flags.releases.views() == (first,)
    assert store.flags.releases.begin(RELEASE, "ada", "", 4.0).progress.release == 2
    second = wire.ReleaseView("flag:new", 2, 4.0, "", "rolling", "")
    assert store.flags.releases.views("flag:new") == (second, first)
    assert store.flags.releases.views("new") == ()


def test_what_the_judge_remembers_is_kept_and_is_no_news(store, path):
    heard = []
    store.flags.listeners.append(lambda: heard.append(1))
    release = store.flags.releases.begin(RELEASE, "ada", "", 1.0)
    kept = replace(release, progress=replace(release.progress, judge="[1]"))
    store.flags.releases.remember(kept)
    assert heard == [1]
    store.close()
    again = Store(path)
    assert again.flags.releases.find("new") == kept
    again.close()
