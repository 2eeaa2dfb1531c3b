"""What may be asked of a release on its way, and what is refused with the mend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from atoll import wire
from atoll.errors import Refused
from atoll.model.system import CAREFUL, Rollout
from atoll.plan.flag_release import FlagRelease
from atoll.plan.releasing import Progress, State
from atoll.store.flags import Author, as_text, content
from atoll.store.transitions import Transition

CANARY = """
system: shop
services:
  orders:
    source: orders
    release: {strategy: canary}
  ledger:
    source: ledger
    release: {strategy: canary, rollback: forward-only}
"""


@pytest.fixture
def shop(scene_of):
    scene = scene_of(CANARY)
    scene.desk()
    scene.serve_now()
    return scene


def test_nobody_is_sent_back_where_that_is_closed(shop):
    shop.serve_now(1, 2, service="ledger")
    with pytest.raises(Refused, match="ledger is forward-only"):
        shop.desk().rollback("ledger")
    assert shop.store.open_changes() == ()


def under_way(scene, service, state, weight=0):
    change = scene.store.request("deploy", (service,), b"{}", scene.at)
    progress = Progress(2, state, 0, weight)
    scene.store.take_effect(change, scene.system, [scene.recipe(service, 2)], (), scene.at, lambda _: progress)
    scene.store.move(change.number, "done")


def steer(scene, service, signal):
    return scene.desk().steer(wire.SteerRequest(service, signal, "ada", "because"))


def test_what_is_asked_is_written_down_and_wakes_the_engine(shop):
    under_way(shop, "orders", State.DARK)
    view = steer(shop, "orders", "release")
    assert (view.service, view.release, view.stable, view.state, view.steps) == ("orders", 2, 1, "dark", 4)
    assert view.allowed == ("release", "abort")
    (asked,) = shop.store.asked()
    assert (asked.service, asked.signal, asked.actor, asked.reason) == ("orders", "release", "ada", "because")
    assert shop.pokes == 1


@pytest.mark.parametrize(
    ("service", "signal", "message", "hint"),
    [
        ("order", "abort", "there is no service 'order' in shop", "did you mean orders?"),
        ("ledger", "release", "no release of ledger is on its way", "deploy one: atoll deploy ledger"),
        ("orders", "promote", "release 2 is dark: promote means nothing there", "atoll release, atoll abort"),
        ("orders", "explode", "a release knows no 'explode'", "write release, promote, hold, resume, abort"),
    ],
)
def test_what_means_nothing_is_refused(shop, service, signal, message, hint):
    under_way(shop, "orders", State.DARK)
    with pytest.raises(Refused) as refused:
        steer(shop, service, signal)
    assert refused.value.message == message
    assert hint in refused.value.hint
    assert shop.store.asked() == ()


def test_there_is_no_way_back_where_the_file_says_so(shop):
    under_way(shop, "ledger", State.CANARY, 5)
    with pytest.raises(Refused, match="ledger is forward-only: release 2 cannot be taken back"):
        steer(shop, "ledger", "abort")


async def deploy(scene):
    return scene.desk().deploy(scene.request(services=("orders",)))


async def apply(scene):
    other = CANARY.replace("source: orders", "source: orders\n    env: {LEVEL: debug}")
    return await scene.desk().apply(scene.request(other))


async def rollback(scene):
    return scene.desk().rollback("orders")


@pytest.mark.parametrize("ask", [deploy, apply, rollback])
async def test_a_second_release_waits_for_the_first(shop, ask):
    under_way(shop, "orders", State.CANARY, 5)
    with pytest.raises(Refused) as refused:
        await ask(shop)
    assert refused.value.message == "orders: release 2 is canary at 5%, one at a time"
    assert "atoll promote orders, atoll abort orders" in refused.value.hint


def test_a_dark_release_may_be_replaced(shop):
    under_way(shop, "orders", State.DARK)
    assert shop.desk().deploy(shop.request(services=("orders",))).change is not None


def test_nothing_runs_yet(scene):
    with pytest.raises(Refused, match="nothing runs here yet"):
        steer(scene, "orders", "abort")


# --- flags ----------------------------------------------------------------------------------------------------------

FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}


@pytest.fixture
def flagged(shop):
    author = Author(shop.at, "ada", "sets", "")
    shop.store.flags.write(content({"flags": {"new": FLAG}}), author, before=shop.store.flags.current().etag)
    progress = Progress(0, State.CANARY, 0, 5)
    release = FlagRelease("new", "on", "", Rollout(steps=CAREFUL), as_text(FLAG), progress)
    shop.store.flags.releases.begin(release, "ada", "", shop.at)
    return shop


def test_a_flag_is_steered_like_a_service(flagged):
    view = steer(flagged, "flag:new", "promote")
    assert (view.service, view.state, view.weight, view.steps) == ("flag:new", "canary", 5, 4)
    assert set(view.allowed) == {"promote", "hold", "abort"}
    assert [(a.service, a.signal, a.actor) for a in flagged.store.asked()] == [("flag:new", "promote", "ada")]
    assert flagged.pokes == 1


@pytest.mark.parametrize(
    ("flag", "signal", "problem", "hint"),
    [
        ("flag:nwe", "abort", "there is no flag 'nwe'", "did you mean new?"),
        ("new", "abort", "there is no service 'new'", "did you mean flag:new?"),
        ("flag:new", "resume", "release 1 is canary: resume means nothing there", "atoll promote"),
        ("flag:new", "explode", "a release knows no 'explode'", "write release"),
    ],
)
def test_what_means_nothing_for_a_flag_is_refused(flagged, flag, signal, problem, hint):
    with pytest.raises(Refused, match=problem) as error:
        steer(flagged, flag, signal)
    assert hint in error.value.hint
    assert flagged.store.asked() == ()


def test_a_flag_that_stands_still_has_nothing_to_steer(flagged):
    release = flagged.store.flags.releases.find("new")
    over = replace(release.progress, state=State.RELEASED)
    flagged.store.flags.releases.transit(Transition("flag:new", "baked", "atoll", ""), release, over, 1.0)
    with pytest.raises(Refused, match="no release of the flag new is on its way") as error:
        steer(flagged, "flag:new", "abort")
    assert "atoll flags release new --to VARIANT" in error.value.hint


def test_events_of_a_flag_may_be_asked_for(flagged):
    flagged.desk().recognise("flag:new")
    with pytest.raises(Refused, match="there is no flag 'nwe'"):
        flagged.desk().recognise("flag:nwe")
    with pytest.raises(Refused, match="there is no service 'new'") as error:
        flagged.desk().recognise("new")
    assert error.value.hint == "did you mean flag:new?"


def test_what_is_in_the_shadow_may_be_released_held_and_taken_back_but_not_promoted(scene_of):
    scene = scene_of("system: shop\nservices: {orders: {source: orders, compare: {}}}")
    scene.desk()
    scene.serve_now()
    under_way(scene, "orders", State.DARK)
    assert steer(scene, "orders", "release").state == "dark"  # it begins with the comparison, which the engine takes up
    under_way(scene, "orders", State.SHADOW)
    with pytest.raises(Refused) as refused:
        steer(scene, "orders", "promote")
    assert refused.value.hint == "what can be done now: atoll release, atoll hold, atoll abort"
    assert steer(scene, "orders", "hold").allowed == ("release", "hold", "abort")
    under_way(scene, "orders", State.SHADOW_HOLDING)
    assert steer(scene, "orders", "resume").allowed == ("release", "resume", "abort")
    with pytest.raises(Refused, match="knows no 'compare'"):
        steer(scene, "orders", "compare")


def rolling(scene, service, *, first=False):
    change = scene.store.request("deploy", (service,), b"{}", scene.at)
    scene.store.take_effect(change, scene.system, [scene.recipe(service, 2)], [service] if first else (), scene.at)
    return change.number


def test_what_replaces_instance_by_instance_can_be_aborted_and_nothing_else(shop):
    rolling(shop, "orders")
    with pytest.raises(Refused, match="release 2 of orders is rolling: hold means nothing there") as refused:
        steer(shop, "orders", "hold")
    assert refused.value.hint == "what can be done now: atoll abort orders"
    view = steer(shop, "orders", "abort")
    assert (view.release, view.stable, view.state, view.allowed) == (2, 1, "rolling", ("abort",))
    (asked,) = shop.store.asked()
    assert (asked.service, asked.signal, asked.actor) == ("orders", "abort", "ada")
    assert shop.pokes == 1


@pytest.mark.parametrize("state", ["queued", "building"])
def test_what_has_not_taken_effect_can_be_aborted(shop, state):
    number = shop.store.request("apply", ("orders",), b"{}", shop.at).number
    shop.store.move(number, state)
    with pytest.raises(Refused, match=rf"change {number} \(apply\) is {state}: promote means nothing there"):
        steer(shop, "orders", "promote")
    view = steer(shop, "orders", "abort")
    assert (view.release, view.stable, view.state, view.reason) == (0, 1, state, f"change {number} (apply)")


def test_the_first_build_of_all_can_be_aborted(scene_of):
    scene = scene_of(CANARY)
    scene.desk()
    scene.store.request("apply", ("orders",), b"{}", scene.at)
    assert steer(scene, "orders", "abort").state == "queued"


def test_the_end_of_the_system_cannot_be_aborted(shop):
    shop.store.request("down", ("orders",), b"{}", shop.at)
    with pytest.raises(Refused, match="no release of orders is on its way"):
        steer(shop, "orders", "abort")
