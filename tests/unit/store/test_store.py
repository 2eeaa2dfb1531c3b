from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from atoll import wire
from atoll.errors import Conflict, Unavailable
from atoll.model.system import Gateway
from atoll.plan.blueprint import Blueprint
from atoll.plan.decisions import Pin
from atoll.plan.design import Host, design
from atoll.plan.observed import Observed
from atoll.plan.releasing import Progress, Signal, State
from atoll.store import store as module
from atoll.store.store import PAST, Store
from atoll.store.transitions import Transition

EMPTY = Blueprint("", 0, Gateway(), {})


def event(text="x", service="orders"):
    return wire.Event(0, 1.0, "info", "kind", service, service, text)


def test_a_new_store_wants_nothing(store):
    assert store.system() == (0, None)
    assert store.pins() == {}
    assert store.blueprint() is None
    assert store.open_changes() == ()
    assert store.last_change() is None


def test_a_change_is_queued_moved_and_over(store):
    change = store.request("apply", ("orders",), b"request", 5.0)
    assert (change.number, change.state, change.services, change.request) == (1, "queued", ("orders",), b"request")
    store.move(1, "building")
    assert [c.state for c in store.open_changes()] == ["building"]
    store.move(1, "failed", "no such file")
    assert store.open_changes() == ()
    assert store.last_change() == replace(change, state="failed", reason="no such file")
    assert store.change(1).view().reason == "no such file"
    assert store.change(2) is None


def test_taking_effect_numbers_releases_and_pins_them(store, shop, release):
    assert release("v1").target.release == 1
    number, system = store.system()
    assert (number, system) == (1, shop)
    store.promote("orders", 1)
    pin = release("v2")
    assert (pin.stable.release, pin.target.release) == (1, 2)
    assert store.pins() == {"orders": pin}
    assert store.open_changes()[-1].releases == {"orders": 2}


def test_taking_effect_is_all_or_nothing(store, shop, release):
    release("v1")
    change = store.request("apply", (), b"", 1.0)
    with pytest.raises(AttributeError):
        store.take_effect(change, shop, [object()], ["orders"], 1.0)
    assert store.system()[0] == 1
    assert store.pins()["orders"].target.release == 1
    assert store.change(change.number).state == "queued"


def test_promote_abort_and_what_to_go_back_to(store, release):
    release("v1")
    assert store.promote("orders", 1).stable.artifact == "v1"
    release("v2")
    assert store.abort("orders", 2, "crashed").stable.artifact == "v1"
    release("v3")
    store.promote("orders", 3)
    assert [(r.number, r.state, r.note) for r in store.releases("orders")] == [
        (3, "serving", ""),
        (2, "failed", "crashed"),
        (1, "retired", ""),
    ]
    assert [(p.recipe.artifact, p.state, p.note) for p in store.past("orders")] == [
        ("v3", "serving", ""),
        ("v2", "failed", "crashed"),
        ("v1", "retired", ""),
    ]
    assert store.past("catalog") == ()
    assert store.releases("catalog") == ()


def test_a_release_that_is_overtaken_is_superseded(store, release):
    release("v1")
    release("v2")
    assert [r.state for r in store.releases()] == ["rolling", "superseded"]


def test_each_step_of_a_release_is_written_down_and_who_took_it(store, shop, release):
    release("v1")
    store.promote("orders", 1)
    dark = Progress(2, State.DARK)
    change = store.request("deploy", ("orders",), b"", 1.0)
    recipe = store.pins()["orders"].stable
    store.take_effect(change, shop, [recipe], (), 1.0, lambda _: replace(dark, state=State.STARTING))
    ready = Transition("orders", Signal.READY, "atoll", "2 ready")
    store.transit(ready, replace(dark, state=State.STARTING), dark, 2.0)
    again = store.request("deploy", ("orders",), b"", 3.0)
    store.take_effect(again, shop, [recipe], (), 3.0, lambda _: Progress(3))
    newest, first = store.transitions("orders")
    assert (first.source, first.target, first.signal, first.actor, first.reason) == (
        "starting",
        "dark",
        "ready",
        "atoll",
        "2 ready",
    )
    assert (newest.release, newest.target, newest.signal, newest.at) == (2, "superseded", "overtake", 3.0)
    assert newest.reason == "release 3 replaces it"
    assert (store.transitions("catalog"), store.transitions(limit=1)) == ((), (newest,))


def test_a_removed_service_loses_its_pin_and_keeps_its_numbers(store, shop, release):
    release("v1")
    change = store.request("down", (), b"", 1.0)
    store.take_effect(change, replace(shop, services={}), [], ["orders"], 1.0)
    assert store.pins() == {}
    assert release("v1").target.release == 2


def test_a_rejected_change_is_undone_whole(store, shop, release):
    release("v1", "catalog")
    store.promote("catalog", 1)
    release("v1")
    store.promote("orders", 1)
    change = store.request("apply", (), b"", 1.0)
    one = replace(store.pins()["orders"].stable, artifact="v2")
    store.take_effect(change, replace(shop, services={"orders": shop.services["orders"]}), [one], ["catalog"], 1.0)
    store.reject(store.change(change.number), "refused", "Envoy refused it", 2.0)
    assert store.system()[1] == shop
    assert {n: (p.stable.release, p.target) for n, p in store.pins().items()} == {
        "catalog": (1, None),
        "orders": (1, None),
    }
    assert store.releases("orders")[0].note == "refused"
    assert (store.change(change.number).state, store.change(change.number).reason) == ("failed", "Envoy refused it")


def test_old_systems_are_forgotten(store, release, monkeypatch):
    monkeypatch.setattr(module, "SYSTEMS_KEPT", 3)
    for number in range(6):
        release(f"v{number}")
    kept = store._db.execute("SELECT number FROM intents ORDER BY number").fetchall()
    assert kept == [(4,), (5,), (6,)]


def test_artifacts_that_may_be_needed_again(store, release):
    release("first")
    store.promote("orders", 1)
    for number in range(12):
        release(f"v{number}")
        store.abort("orders", number + 2, "")
    assert store.artifacts() == {"first", *(f"v{n}" for n in range(2, 12))}


def test_a_blueprint_comes_back_and_only_what_changed_is_written(store, shop, release):
    pins = {"orders": Pin(release("v1").target), "catalog": Pin(release("v1", "catalog").target)}
    seen = Observed(1.0, answered=frozenset({"runtime"}))
    first = design(shop, pins, seen, EMPTY, Host("/run/x"))
    store.save(first, EMPTY)
    assert store.blueprint() == first
    fewer = replace(shop, services={"orders": replace(shop.services["orders"], instances=1)})
    second = design(fewer, pins, seen, first, Host("/run/x"))
    writes = []
    store._db._connection.set_trace_callback(lambda line: writes.append(line) if "workloads VALUES" in line else None)
    store.save(second, first)
    assert len(writes) == 1
    assert store.blueprint() == second
    counting = design(fewer, pins, seen, second, Host("/run/x"), counting=True)
    store.save(counting, second)
    assert (store.blueprint().counting, store.blueprint().generation) == (True, second.generation + 1)


def test_instances_that_are_read_share_their_recipe(store, shop, release):
    pins = {"orders": Pin(release("v1").target)}
    blueprint = design(shop, pins, Observed(1.0, answered=frozenset({"runtime"})), EMPTY, Host("/run/x"))
    store.save(blueprint, EMPTY)
    one, two = store.blueprint().workloads["orders"].instances
    assert one.recipe is two.recipe
    assert one.recipe.hosts is store.pins()["orders"].target.hosts


def test_everything_survives_closing(path, shop):
    store = Store(path)
    store.request("apply", ("orders",), b"request", 5.0)
    store.append([event("hello")])
    store.close()
    again = Store(path)
    assert again.last_change().request == b"request"
    assert again.events()[0].text == "hello"
    again.close()


def test_what_was_committed_survives_a_control_plane_that_never_closed(path):
    store = Store(path)
    store.request("apply", ("orders",), b"request", 5.0)
    other = Store(path)
    assert other.last_change().request == b"request"
    other.close()
    store.close()


def test_a_backup_is_a_whole_store(store, path):
    store.append([event("kept")])
    store.backup()
    store.backup()
    copy = path.with_suffix(".db.backup")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert not path.with_suffix(".db.backup.new").exists()
    again = Store(copy)
    assert again.events()[0].text == "kept"
    again.close()


def test_a_backup_writes_the_log_back_so_that_no_change_has_to(store, path, tmp_path):
    store.append([event("kept")])
    store.backup()
    alone = tmp_path / "alone.db"
    alone.write_bytes(path.read_bytes())  # without the log
    with closing(Store(alone)) as again:
        assert again.events()[0].text == "kept"


def test_a_backup_in_a_thread_waits_for_no_change_and_no_change_for_it(store, path):
    store.append([event("kept")])
    with store._transaction() as db, ThreadPoolExecutor(1) as threads:
        db.execute("UPDATE events SET text = 'half done'")
        threads.submit(store.backup).result(20)
    with closing(Store(path.with_suffix(".db.backup"))) as copy:
        assert copy.events()[0].text == "kept"
    assert store.events()[0].text == "half done"


@pytest.mark.parametrize(("there", "why"), [("another", "another file is in the place"), ("nothing", "unable to open")])
def test_what_is_in_the_place_of_the_state_is_not_copied(store, path, there, why):
    store.append([event("kept")])
    store.backup()
    copy = path.with_suffix(".db.backup")
    before = copy.read_bytes()
    path.rename(path.with_name("moved"))
    if there == "another":
        path.write_bytes(before)
    with pytest.raises(sqlite3.OperationalError, match=why):
        store.backup()
    assert copy.read_bytes() == before


def test_events_are_numbered_filtered_and_read_on(store):
    written = store.append([event(str(n), "orders" if n % 2 else "catalog") for n in range(10)])
    assert [e.number for e in written] == list(range(1, 11))
    assert [e.number for e in store.events(limit=3)] == [8, 9, 10]
    assert [e.number for e in store.events(after=4, limit=3)] == [5, 6, 7]
    assert [e.number for e in store.events(service="orders", limit=2)] == [8, 10]
    assert store.append([]) == ()


@pytest.mark.parametrize("batch", [1, 7, 1500])
def test_the_journal_keeps_its_newest(store, monkeypatch, batch):
    monkeypatch.setattr(module, "EVENTS_KEPT", 100)
    for _ in range(3000 // batch + 1):
        store.append([event()] * batch)
    kept = store.events(limit=100_000)
    assert len(kept) <= 100 + module.TRIMMED_EVERY
    assert kept[-1].number >= 3000


def test_a_full_disk_is_an_error_and_changes_nothing(store, path):
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.append([event("x" * 100_000)])
    assert store.events() == ()
    store._db.execute("PRAGMA max_page_count = 1000000")
    assert store.append([event("room again")])[0].number == 1


def test_what_is_asked_for_on_a_full_disk_is_refused_in_words(store):
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(Unavailable, match=r"cannot be written down \(.*full.*nothing was changed"):
        store.request("apply", ("orders",), b"x" * 100_000, 5.0)
    assert store.open_changes() == ()


def test_a_transition_is_one_transaction_with_what_asked_for_it(store, release):
    release("v1")
    store.promote("orders", 1)
    before = under_way(store, release)
    store.ask("orders", "abort", "ada", "I do not like it", 5.0)
    (asked,) = store.asked()
    after = replace(before, state=State.ABORTING)
    pin = store.transit(Transition("orders", "abort", "ada", asked.reason, asked.asked), before, after, 6.0)
    assert (pin.progress, store.pins()["orders"], store.asked()) == (after, pin, ())
    with pytest.raises(Conflict, match="is not dark any more"):
        store.transit(Transition("orders", "abort", "ada", "again"), before, after, 7.0)
    done = store.transit(
        Transition("orders", "acknowledged", "atoll", "x"), after, replace(after, state=State.ROLLED_BACK), 8.0
    )
    assert (done.stable.release, done.target, done.progress) == (1, None, None)
    assert [(r.number, r.state) for r in store.releases("orders")] == [(2, "rolled-back"), (1, "serving")]


def test_a_release_that_is_through_serves(store, release):
    release("v1")
    store.promote("orders", 1)
    before = under_way(store, release)
    pin = store.transit(Transition("orders", "baked", "atoll", ""), before, replace(before, state=State.RELEASED), 6.0)
    assert (pin.stable.release, pin.target, pin.progress) == (2, None, None)
    assert {r.number: r.state for r in store.releases("orders")} == {1: "retired", 2: "serving"}


def test_what_the_judge_remembers_is_kept(store, release):
    release("v1")
    store.promote("orders", 1)
    before = under_way(store, release)
    store.remember("orders", replace(before, judge="[1]", paused=True))
    assert store.pins()["orders"].progress == replace(before, judge="[1]", paused=True)


def under_way(store, release):
    """A second release that stands dark beside the first."""
    pin = release("v2", begin=lambda pin: Progress(pin.target.release, State.DARK))
    assert pin.progress == Progress(2, State.DARK)
    return pin.progress


def test_changes_that_are_cancelled_keep_what_they_had_failed_of(store):
    one, other = (store.request("apply", (), b"", 1.0) for _ in range(2))
    store.move(one.number, "rolling", "orders: release 1 was given up")
    store.cancel(store.open_changes(), "cancelled")
    assert store.change(one.number).reason == "orders: release 1 was given up\ncancelled"
    assert (store.change(other.number).state, store.change(other.number).reason) == ("failed", "cancelled")


def test_what_is_cancelled_takes_no_effect(store, shop):
    change = store.request("apply", (), b"", 1.0)
    store.cancel([change], "cancelled")
    with pytest.raises(Conflict, match="change 1 is over"):
        store.take_effect(change, shop, [], [], 1.0)
    assert store.system() == (0, None)


def test_an_aborted_release_fails_the_changes_that_asked_for_it_in_the_same_breath(store, release):
    release("v1")
    store.ask("orders", "abort", "ada", "why", 1.0)
    (asked,) = store.asked()
    assert store.abort("orders", 1, "aborted by ada", "orders: aborted", asked.asked) == Pin()
    assert store.asked() == ()
    assert store.open_changes()[0].reason == "orders: aborted"
    assert [(r.state, r.note) for r in store.releases("orders")] == [("rolled-back", "aborted by ada")]


def test_a_release_that_goes_with_its_service_is_not_rolling_any_more(store, shop, release):
    release("v1")
    change = store.request("down", (), b"", 1.0)
    store.take_effect(change, replace(shop, services={}), [], ["orders"], 1.0)
    assert [r.state for r in store.releases("orders")] == ["removed"]


def test_what_served_a_service_that_is_gone_is_stopped_and_still_has_served(store, shop, release):
    release("v1")
    store.promote("orders", 1)
    change = store.request("down", (), b"", 1.0)
    store.take_effect(change, replace(shop, services={}), [], ["orders"], 1.0)
    assert [r.state for r in store.releases("orders")] == ["stopped"]
    assert [p.state for p in store.past("orders")] == ["serving"]


def test_only_so_many_releases_are_looked_back_on(store, release):
    for number in range(PAST + 2):
        release(f"v{number}")
    assert [p.recipe.release for p in store.past("orders")] == list(range(PAST + 2, 2, -1))


def test_what_fails_and_what_is_aborted_over_and_over_closes_no_way_back(store, release):
    release("good")
    store.promote("orders", 1)
    release("taken back")
    store.abort("orders", 2, "no", asked=1)
    for number in range(PAST + 2):
        release(f"v{number}")
        store.abort("orders", number + 3, "crashed")
    past = [(p.recipe.artifact, p.state) for p in store.past("orders")]
    assert past == [
        *((f"v{number}", "failed") for number in range(PAST + 1, 1, -1)),
        ("taken back", "rolled-back"),
        ("good", "serving"),
    ]
    assert store.artifacts() == {artifact for artifact, _ in past}


def test_what_a_rollback_replaces_was_taken_back(store, shop, release):
    release("v1")
    earlier = store.promote("orders", 1).stable
    release("v2")
    store.promote("orders", 2)
    for change in store.open_changes():
        store.move(change.number, "done")
    change = store.request("rollback", ("orders",), b"{}", 1.0)
    store.take_effect(change, shop, [earlier], [], 1.0)
    assert [r.state for r in store.releases("orders")] == ["rolling", "serving", "retired"]  # it serves meanwhile
    store.promote("orders", 3)
    assert [(r.state, r.note) for r in store.releases("orders")] == [
        ("serving", ""),
        ("rolled-back", "release 3 took its place again"),
        ("retired", ""),
    ]


def test_a_first_release_that_is_given_up_is_kept_on_and_never_was_one_that_served(store, release):
    release("v1")
    pin = store.persist("orders", 1, "crashed", "orders: release 1 was given up: crashed")
    assert (pin.stable.release, pin.target) == (1, None)
    assert store.pins() == {"orders": pin}
    assert store.open_changes()[0].reason == "orders: release 1 was given up: crashed"
    assert [(r.state, r.note) for r in store.releases("orders")] == [("failing", "crashed")]
    assert store.failing() == {"orders": 1}
    assert store.artifacts() == {"v1"}
    release("v2")
    store.promote("orders", 2)
    assert [(r.state, r.note) for r in store.releases("orders")] == [("serving", ""), ("failed", "crashed")]
    assert store.failing() == {}


def test_one_that_serves_after_all_is_like_any_other(store, release):
    release("v1")
    store.persist("orders", 1, "crashed", "")
    store.recover("orders", 1)
    assert ([(r.state, r.note) for r in store.releases("orders")], store.failing()) == ([("serving", "")], {})
    release("v2")
    store.promote("orders", 2)
    store.recover("orders", 1)  # too late: nothing changes
    assert [r.state for r in store.releases("orders")] == ["serving", "retired"]


def test_what_was_kept_for_its_callers_is_let_go_in_one_step(store, shop, release):
    release("v1")
    release("v1", "catalog")
    store.promote("orders", 1)
    left = replace(shop, services={"orders": shop.services["orders"]})
    before, _ = store.system()
    store.let_go(left, ["catalog"], 9.0)
    number, wanted = store.system()
    assert (number > before, wanted) == (True, left)
    assert [*store.pins()] == ["orders"]
    assert [one.state for one in store.past("catalog")] == ["removed"]
