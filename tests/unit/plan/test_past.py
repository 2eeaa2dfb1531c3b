from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.model.system import Gateway, Rollout, Service, System
from atoll.plan.decisions import Pin
from atoll.plan.past import Past, choose, earlier, held, holding, taken_back
from atoll.plan.recipes import recipe

ORDERS = Service("orders", source="orders")
SHOP = System("shop", Gateway(), {"orders": ORDERS}, "")


def made_of(artifact, release=0):
    return replace(recipe(SHOP, ORDERS, artifact=artifact, argv=("run",)), release=release)


def past(*rows):
    """Releases 1, 2, ... as pairs of artifact and state; newest first, as they are kept."""
    return [Past(made_of(a, n), state, f"note {n}") for n, (a, state) in reversed(list(enumerate(rows, start=1)))]


@pytest.mark.parametrize(
    ("rows", "back"),
    [
        ([("a", "retired"), ("b", "serving")], 1),
        ([("a", "retired"), ("b", "retired"), ("c", "serving")], 2),
        ([("a", "retired"), ("b", "failed"), ("c", "serving")], 1),
        ([("a", "retired"), ("b", "rolled-back"), ("c", "serving")], 1),
        ([("a", "failed"), ("b", "serving")], None),
        ([("a", "retired"), ("b", "retired"), ("b", "serving")], 1),  # deployed again, unchanged
        ([("a", "retired"), ("a", "serving")], None),
        ([("a", "retired"), ("b", "retired"), ("c", "rolled-back"), ("b", "serving")], 1),  # once more: further back
        ([("b", "serving")], None),
    ],
)
def test_back_is_to_the_newest_other_release_that_has_served(rows, back):
    found = earlier(past(*rows), made_of(rows[-1][0], len(rows)))
    assert (found.release if found is not None else None) == back


@pytest.mark.parametrize("count", [2, 3, 6])
def test_who_goes_back_again_and_again_gets_to_the_first_and_no_further(count):
    rows = [(f"v{n}", "retired") for n in range(1, count)] + [(f"v{count}", "serving")]
    seen = []
    while (found := earlier(past(*rows), made_of(rows[-1][0], len(rows)))) is not None:
        seen.append(found.artifact)
        rows[-1] = (rows[-1][0], "rolled-back")  # as the store does when the one that goes back has its place
        rows.append((found.artifact, "serving"))
        assert len(seen) < count
    assert seen == [f"v{n}" for n in range(count - 1, 0, -1)]


def test_what_was_taken_back_and_released_by_name_is_a_way_back_again():
    rows = [("a", "retired"), ("b", "rolled-back"), ("a", "retired"), ("b", "retired"), ("c", "serving")]
    assert earlier(past(*rows), made_of("c", 5)).release == 4


@pytest.mark.parametrize(("strategy", "back"), [("canary", True), ("shadow-then-canary", True), ("rolling", False)])
def test_a_canary_that_was_on_its_way_when_all_was_taken_down_does_not_come_back_alone(strategy, back):
    shop = replace(SHOP, services={"orders": replace(ORDERS, rollout=Rollout(strategy))})
    known = past(("a", "serving"), ("b", "removed"))
    found = held(shop, {}, {"orders": "b"}, {"orders": known}.__getitem__)
    assert (list(found) == ["orders"]) is back
    choice = choose(None, made_of("b"), {"orders": known}.__getitem__, in_steps=back)
    assert choice.recipe.artifact == ("a" if back else "b")
    if back:
        words = "what is here now was not through as release 2 (note 2): it is not released again until it changes"
        assert holding(found["orders"]).startswith(words)
    first = {"orders": past(("b", "removed"))}.__getitem__
    assert choose(None, made_of("b"), first, in_steps=back).recipe.artifact == "b", "there is nothing else"
    assert choose(made_of("a", 1), made_of("b"), {"orders": known}.__getitem__, in_steps=back).back is None


def test_what_has_no_number_yet_comes_after_all_that_have():
    assert earlier(past(("a", "retired"), ("b", "serving")), made_of("c")).release == 2


@pytest.mark.parametrize(
    ("rows", "wanted", "back"),
    [
        ([("a", "serving"), ("b", "rolled-back")], "b", 2),
        ([("a", "serving"), ("b", "rolled-back")], "a", None),
        ([("a", "serving"), ("b", "rolled-back")], "c", None),
        ([("a", "serving"), ("b", "failed")], "b", None),  # it may have been for want of something
        ([("a", "serving"), ("b", "removed")], "b", None),
        ([("a", "serving"), ("b", "rolled-back"), ("b", "failed")], "b", 2),
        ([("a", "retired"), ("b", "rolled-back"), ("b", "serving")], "b", None),  # asked for by name
        ([("a", "retired"), ("b", "rolled-back"), ("b", "retired"), ("c", "serving")], "b", None),
        ([("a", "retired"), ("b", "retired"), ("a", "serving"), ("b", "rolled-back")], "b", 4),
    ],
)
def test_taken_back_is_what_the_newest_release_of_it_says(rows, wanted, back):
    found = taken_back(past(*rows), made_of(wanted))
    assert (found.recipe.release if found is not None else None) == back


BACK = past(("a", "serving"), ("b", "rolled-back"))
ALONE = past(("b", "rolled-back"))


@pytest.mark.parametrize(
    ("now", "on", "known", "names"),
    [
        ("b", "a", BACK, ["orders"]),
        ("a", "a", BACK, []),
        ("c", "a", BACK, []),
        ("b", None, BACK, ["orders"]),  # taken down, and up again
        ("b", None, ALONE, []),  # there is nothing else that could be started
        ("b", "b", BACK, []),
    ],
)
def test_held_is_what_was_taken_back_where_something_else_can_run(now, on, known, names):
    pins = {"orders": Pin(made_of(on, 1))} if on else {}
    found = held(SHOP, pins, {"orders": now}, {"orders": known}.__getitem__)
    assert list(found) == names


def test_what_nobody_knows_the_artifact_of_is_not_held():
    assert held(SHOP, {}, {}, {"orders": BACK}.__getitem__) == {}


def test_another_setting_of_the_file_makes_it_another_release():
    other = replace(SHOP, services={"orders": replace(ORDERS, env={"LEVEL": "debug"})})
    assert held(other, {"orders": Pin(made_of("a", 1))}, {"orders": "b"}, {"orders": BACK}.__getitem__) == {}


def test_the_words_say_why_and_what_can_be_done():
    words = holding(BACK[0])
    assert "taken back as release 2 (note 2)" in words
    assert words.endswith("(atoll deploy orders)")
    assert "release 2:" in holding(replace(BACK[0], note=""))
