import copy
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from atoll.kit.flags import (
    Flags,
    InvalidFlags,
    is_killed,
    killed,
    lint,
    revived,
    with_default,
    with_flag,
    with_percent,
    with_targeting,
    without_flag,
)

STAFF = {"ends_with": [{"var": "email"}, "@corp.com"]}
META = {"owner": "team-a", "kind": "release", "expires": "2027-01-31"}
USERS = [f"user-{number}" for number in range(400)]


def document(**more):
    flag = {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "off",
        "metadata": META,
        **more,
    }
    other = {"state": "ENABLED", "variants": {"a": 1, "b": 2, "c": 3}, "defaultVariant": "a", "metadata": META}
    return {"flags": {"f": flag, "other": other}}


def who_gets(changed, variant, key="f", **context):
    flags = Flags.load(changed)
    return {user for user in USERS if flags.evaluate(key, {"targetingKey": user, **context}).variant == variant}


def test_a_change_leaves_the_given_document_alone():
    before = document(targeting={"fractional": [["on", 1], ["off", 99]]})
    kept = copy.deepcopy(before)
    for change in (
        lambda: with_default(before, "f", "on"),
        lambda: with_targeting(before, "f", {"if": [STAFF, "on"]}),
        lambda: with_percent(before, "f", "on", 50),
        lambda: with_flag(before, "new", before["flags"]["f"]),
        lambda: without_flag(before, "f"),
        lambda: killed(before, "f"),
        lambda: revived(killed(before, "f"), "f"),
    ):
        change()
        assert before == kept


def test_what_the_changes_do():
    assert with_default(document(), "f", "on")["flags"]["f"]["defaultVariant"] == "on"
    assert with_targeting(document(), "f", {"if": [STAFF, "on"]})["flags"]["f"]["targeting"] == {"if": [STAFF, "on"]}
    assert "targeting" not in with_targeting(document(targeting={"if": [STAFF, "on"]}), "f", None)["flags"]["f"]
    assert list(without_flag(document(), "f")["flags"]) == ["other"]
    assert list(with_flag({}, "first", document()["flags"]["f"])["flags"]) == ["first"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda doc: with_default(doc, "g", "on"), r"/flags/g: there is no flag g: use one of f, other"),
        (
            lambda doc: with_default(doc, "f", "onn"),
            r"/flags/f/defaultVariant: 'onn' is not among the variants: write on",
        ),
        (
            lambda doc: with_targeting(doc, "f", {"iff": []}),
            r"/flags/f/targeting/iff: there is no operator iff: write if",
        ),
        (
            lambda doc: with_flag(doc, "new", {"state": "ENABLED", "variants": {"a": 1}}),
            r"/flags/new/metadata/owner: nobody",
        ),
        (lambda doc: with_percent(doc, "f", "on", 101), r"101 is not a percentage"),
        (lambda doc: with_percent(doc, "f", "on", float("nan")), r"nan is not a percentage"),
        (lambda doc: with_percent(doc, "f", "an", 5), r"/flags/f/targeting/fractional/0/0: 'an' is not among"),
        (lambda doc: with_percent(doc, "other", "a", 5), r"not clear who gets what is not a: say which"),
        (
            lambda doc: with_percent(doc, "f", "on", 5, rest="on"),
            r"on cannot be rolled out against itself: name another",
        ),
        (lambda doc: without_flag(doc, "g"), r"there is no flag g"),
        (lambda doc: killed(doc, "g"), r"there is no flag g"),
        (lambda doc: with_percent(killed(doc, "f"), "f", "on", 5), r"the flag f is killed: revive it first"),
    ],
)
def test_what_is_refused(change, said):
    with pytest.raises(InvalidFlags, match=said):
        change(document())


def test_errors_elsewhere_do_not_stop_a_change():
    broken = document()
    broken["flags"]["other"]["state"] = "on"
    assert with_default(broken, "f", "on")["flags"]["f"]["defaultVariant"] == "on"
    assert killed(broken, "f")["flags"]["f"]["metadata"]["killed"] is True


def test_what_is_wrong_with_a_flag_is_found_however_much_is_wrong_elsewhere():
    before = document()
    before["flags"] = {f"wrong {number}": {} for number in range(1001)} | before["flags"]
    with pytest.raises(InvalidFlags, match="/flags/f/defaultVariant: 'maybe' is not among the variants"):
        with_default(before, "f", "maybe")


@given(st.lists(st.floats(0, 100) | st.integers(0, 100), min_size=2, max_size=4).map(sorted), st.booleans())
def test_a_rollout_only_grows(steps, pinned_by_concat):
    meta = META | ({"hash": "concat-mmh3-1"} if pinned_by_concat else {})
    current, before = document(metadata=meta), set()
    for percent in steps:
        current = with_percent(current, "f", "on", percent)
        now = who_gets(current, "on")
        assert before <= now
        before = now
    assert before if steps[-1] > 5 else True


def test_shares_are_what_was_asked_for():
    assert who_gets(with_percent(document(), "f", "on", 0), "on") == set()
    assert who_gets(with_percent(document(), "f", "on", 100), "on") == set(USERS)
    assert 60 <= len(who_gets(with_percent(document(), "f", "on", 20), "on")) <= 100
    fine = with_percent(document(), "f", "on", 0.001)["flags"]["f"]["targeting"]
    assert fine == {"fractional": [["on", 1], ["off", 99999]]}


def test_targeting_around_a_rollout_stays():
    by = {"var": "tenant"}
    around = {"if": [STAFF, "on", {"fractional": [by, ["off", 95], ["on", 5]]}]}
    changed = with_percent(document(targeting=around), "f", "on", 12.5)
    assert changed["flags"]["f"]["targeting"] == {
        "if": [STAFF, "on", {"fractional": [by, ["off", 87500], ["on", 12500]]}]
    }


@given(st.lists(st.floats(0, 100), min_size=2, max_size=4).map(sorted))
def test_a_rollout_in_the_other_order_grows_as_well(steps):
    current, before = document(targeting={"fractional": [["off", 1], ["on", 0]]}), set()
    for percent in steps:
        current = with_percent(current, "f", "on", percent)
        before, kept = who_gets(current, "on"), before
        assert kept <= before


def test_a_rollout_between_other_variants():
    changed = with_percent(document(), "other", "c", 30, rest="b")
    assert changed["flags"]["other"]["targeting"] == {"fractional": [["c", 30], ["b", 70]]}
    assert with_percent(document(), "other", "c", 30)["flags"]["other"]["targeting"] == {
        "fractional": [["c", 30], ["a", 70]]
    }
    plain = document()
    del plain["flags"]["f"]["defaultVariant"]
    assert with_percent(plain, "f", "on", 30)["flags"]["f"]["targeting"] == {"fractional": [["on", 30], ["off", 70]]}


@pytest.mark.parametrize(
    "targeting",
    [
        {"if": [STAFF, "on"]},
        {"fractional": [["on", 1], ["off", 1], ["on", 2]]},
        {"if": [STAFF, {"fractional": [["on", 1], ["off", 1]]}, {"fractional": [["on", 1], ["off", 1]]}]},
    ],
)
def test_a_rollout_that_is_not_clear_is_refused(targeting):
    with pytest.raises(InvalidFlags, match="set the targeting itself"):
        with_percent(document(targeting=targeting), "f", "on", 5)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"targeting": {"if": [STAFF, "on", {"fractional": [["on", 50], ["off", 50]]}]}},
        {"metadata": META | {"killVariant": "on"}, "defaultVariant": None},
        {"variants": {"true": True, "false": False}, "defaultVariant": False},
        {"state": "DISABLED"},
    ],
)
def test_killing_and_reviving(more):
    before = document(**more)
    dead = killed(before, "f")
    safe = more.get("metadata", {}).get("killVariant", "false" if "variants" in more else "off")
    assert [each for each in lint(dead, today=date(2026, 1, 1)) if each.path.startswith("/flags/f/targeting")] == []
    assert dead["flags"]["f"]["state"] == before["flags"]["f"]["state"]
    if "state" not in more:
        assert who_gets(dead, safe, email="a@corp.com") == set(USERS)
        core = FlagdCore()
        core.set_flags(copy.deepcopy(dead))  # flagd's own reader agrees
        context = EvaluationContext("user-1", {"email": "a@corp.com"})
        assert core.resolve_boolean_value("f", None, context).variant == safe
    assert killed(dead, "f") == dead
    assert revived(dead, "f") == before
    assert revived(before, "f") == before


@pytest.mark.parametrize(
    "targeting",
    [
        None,
        {"fractional": [["on", 50], ["off", 50]]},
        {"if": "on"},
        {"if": [True]},
        {"if": [True, "no"]},
        {"if": [STAFF, "on"]},
        {"if": [True, {"var": "x"}, "off"]},
        {"if": [True, "off", True, "on"]},
    ],
)
def test_a_mark_without_what_it_says_kills_nothing(targeting):
    marked = document(targeting=targeting, metadata=META | {"killed": True})
    assert not is_killed(marked["flags"]["f"])
    place = "/flags/f/metadata/killed: this says that the flag is killed, and its targeting does not give everybody"
    assert [each for each in lint(marked, today=date(2026, 1, 1)) if str(each).startswith(place)]
    assert revived(marked, "f") == marked
    dead = killed(marked, "f")
    assert is_killed(dead["flags"]["f"])
    assert dead["flags"]["f"]["targeting"] == {"if": [True, "off", targeting] if targeting else [True, "off"]}


def test_without_the_mark_the_form_is_targeting_like_any_other():
    plain = document(targeting={"if": [True, "on"]})
    assert not is_killed(plain["flags"]["f"])
    assert revived(plain, "f") == plain
    assert killed(plain, "f")["flags"]["f"]["targeting"] == {"if": [True, "off", {"if": [True, "on"]}]}


def test_a_kill_follows_the_safe_variant():
    rollout = {"fractional": [["on", 1], ["off", 99]]}
    dead = killed(document(targeting=rollout), "f")
    dead["flags"]["f"]["metadata"] |= {"killVariant": "on"}
    said = "it is killed with off, and its safe variant is on: kill it again, or correct metadata.killVariant"
    assert f"/flags/f/targeting: {said}" in map(str, lint(dead, today=date(2026, 1, 1)))
    again = killed(dead, "f")
    assert who_gets(again, "on") == set(USERS)
    assert revived(again, "f")["flags"]["f"]["targeting"] == rollout


def test_a_kill_makes_no_flag_that_is_too_deep():
    deep = {"!": {"var": "x"}}
    while not [
        each for each in lint(document(targeting={"if": [deep, "on"]}), today=date.min) if "deeper" in each.reason
    ]:
        deepest, deep = deep, {"!": deep}
    dead = killed(document(targeting={"if": [deepest, "on"]}), "f")
    assert who_gets(dead, "off") == set(USERS)


def test_a_flag_without_metadata_is_as_before_after_reviving():
    before = document()
    del before["flags"]["f"]["metadata"]
    assert revived(killed(before, "f"), "f") == before


def test_without_a_safe_variant_there_is_no_killing():
    with pytest.raises(InvalidFlags, match="neither a killVariant nor a defaultVariant: write off"):
        killed(document(defaultVariant=None), "f")
