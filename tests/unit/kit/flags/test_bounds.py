"""Short documents and short contexts that ask for more than any machine has are refused, or answered with an error."""

from datetime import date

import pytest

from atoll.kit.flags import Flags, InvalidFlags, lint
from atoll.kit.flags.bounds import HEAVIEST, LONGEST, TooMuch, Weights, begin, charged, joined, spend
from atoll.kit.flags.operators import OPERATORS

TODAY = date(2026, 11, 25)
META = {"owner": "team-a", "kind": "ops"}
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": META}
ITEM = {"var": ""}
SUM = {"var": "accumulator"}


def document(condition, evaluators=None):
    return {"$evaluators": evaluators or {}, "flags": {"f": FLAG | {"targeting": {"if": [condition, "on", "off"]}}}}


def doubling(operation, first, levels):
    found = {f"e{n}": {operation: [{"$ref": f"e{n - 1}"}] * 2} for n in range(1, levels)}
    return {"e0": {operation: [first, first]}} | found


def errors(said):
    return [str(each) for each in lint(said, today=TODAY) if each.level == "error"]


@pytest.mark.parametrize(
    ("operation", "first"), [("cat", "a" * 10), ("*", 10**18), ("merge", [1]), ("or", {"var": "x"}), ("+", 1)]
)
def test_evaluators_that_double_at_each_level_are_refused_where_that_begins_to_be_too_much(operation, first):
    evaluators = doubling(operation, first, 60)
    said = document({"==": [{"$ref": "e59"}, 1]}, evaluators)
    (found,) = errors(said)
    assert found.startswith("/$evaluators/e1")
    assert "with everything that it refers to written out, this has more than 100,000 parts: refer to less" in found
    with pytest.raises(InvalidFlags, match="more than 100,000 parts"):
        Flags.load(said)


def test_what_no_flag_uses_is_weighed_as_well():
    assert len(errors(document({"var": "x"}, doubling("*", 10**18, 40)))) == 1


def test_a_flag_that_is_too_much_by_its_own_references():
    evaluators = {"e": {"or": [{"!": {"var": "x"}}] * 10_000}}
    (found,) = errors(document({"or": [{"$ref": ["e"]}] * 4}, evaluators))
    assert found.startswith("/flags/f/targeting: with everything")
    assert errors(document({"or": [{"$ref": "e"}] * 2}, evaluators)) == []


@pytest.mark.parametrize(("operation", "first"), [("*", 10**18), ("cat", "a" * 1000)])
def test_what_is_light_and_comes_to_much_fails_when_somebody_asks(operation, first):
    said = document({"==": [{"$ref": "e11"}, 1]}, doubling(operation, first, 12))
    assert errors(said) == []
    found = Flags.load(said).evaluate("f", {})
    assert (found.error_code, found.message) == ("GENERAL", "f: targeting failed with TooMuch")


TEN = list(range(10))


@pytest.mark.parametrize(
    "condition",
    [
        {"reduce": [{"var": "l"}, {"cat": [SUM, SUM]}, "a"]},
        {"reduce": [{"var": "l"}, {"*": [SUM, SUM]}, 3]},
        {"reduce": [{"var": "l"}, {"merge": [SUM, SUM]}, [1]]},
        {"cat": {"reduce": [{"var": "l"}, [SUM, SUM], 1]}},
        {"map": [TEN, {"map": [TEN, {"map": [TEN, {"map": [TEN, {"map": [TEN, {"map": [TEN, 1]}]}]}]}]}]},
        {"all": [TEN, {"none": [TEN * 100, {"!": {"map": [TEN * 1000, 1]}}]}]},
        {"reduce": [TEN * 100, {"merge": [SUM, []]}, TEN * 2000]},
        {"reduce": [TEN * 10, {"reduce": [TEN * 1000, {"+": [1, 1]}, 0]}, 0]},
        {"filter": [{"var": "l"}, {"reduce": [TEN * 1000, {"map": [TEN * 10, 1]}, 1]}]},
    ],
)
def test_lists_and_what_is_made_of_them_are_charged_for(condition):
    flags = Flags.load(document(condition))
    assert flags.evaluate("f", {"l": list(range(60))}).message == "f: targeting failed with TooMuch"


def test_items_that_are_in_their_results_twice_are_charged_for():
    condition = {"var": "l"}
    for _ in range(30):
        condition = {"map": [condition, [ITEM, ITEM]]}
    flags = Flags.load(document({"==": [condition, "x"]}))
    assert flags.evaluate("f", {"l": ["x"]}).message == "f: targeting failed with TooMuch"
    assert flags.evaluate("f", {"l": []}).variant == "off"


@pytest.mark.parametrize(
    ("condition", "times"),
    [
        ({"some": [{"var": "l"}, {"==": [ITEM, 49_999]}]}, 5),
        ({"reduce": [{"var": "l"}, {"var": "current"}, 0]}, 5),
        ({"in": [7, {"merge": [{"var": "l"}, 1]}]}, 25),
        ({"!!": {"cat": ["a" * 90_000, {"var": "x"}]}}, 1200),
        ({"in": [0, [{"var": f"l.{n}"} for n in range(3_000)]]}, 340),
    ],
)
def test_each_answer_has_all_that_one_may_spend(condition, times):
    flags = Flags.load(document(condition))
    context = {"l": list(range(50_000))}
    for _ in range(times):
        assert flags.evaluate("f", context).variant == "on"


def test_usual_things_are_not_too_much():
    condition = {
        "and": [
            {"in": [{"var": "email"}, [f"user-{n}@corp.com" for n in range(20_000)]]},
            {"some": [{"var": "roles"}, {"in": [ITEM, ["admin", "owner"]]}]},
            {"==": [{"reduce": [{"var": "l"}, {"+": [SUM, {"var": "current"}]}, 0]}, 499_500]},
            {"==": [{"cat": ["a" * 40_000, {"var": "email"}]}, "a" * 40_000 + "user-7@corp.com"]},
        ]
    }
    said = document(condition)
    assert errors(said) == []
    context = {"email": "user-7@corp.com", "roles": ["guest"] * 1000 + ["owner"], "l": list(range(1000))}
    assert Flags.load(said).evaluate("f", context).variant == "on"


def test_bounds():
    begin()
    assert joined(["a" * LONGEST]) == "a" * LONGEST
    with pytest.raises(TooMuch):
        joined(["a" * LONGEST, "b"])
    begin()
    assert charged([{"a": 1}, {"b": 2}]) == [{"a": 1}, {"b": 2}]
    spend(1_000_000 - 5)
    with pytest.raises(TooMuch):
        spend(1)
    assert OPERATORS["*"](2.0**600, 2.0**600) == float("inf")
    begin()
    with pytest.raises(TooMuch):
        OPERATORS["merge"](list(range(LONGEST)), 1)


def test_a_weight_counts_every_place_and_stops_at_the_bound():
    weights = Weights({"a": {"!": {"var": "x"}}, "b": [{"$ref": "a"}, {"$ref": ["a"]}]})
    assert weights.of({"var": "x"}) == 2
    assert weights.of({"$ref": "a"}) == 2 + 3
    assert weights.of([1] * 2 * HEAVIEST) == HEAVIEST + 1
    assert weights.of({"$ref": "none"}) == 2 + 1
