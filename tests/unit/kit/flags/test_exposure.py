"""Who gets what of a flag, by its definition alone."""

import pytest

from atoll.kit.flags import everybody, killed, shares, with_percent

STAFF = {"ends_with": [{"var": "email"}, "@corp.com"]}
ON = [["on", 5], ["off", 95]]


def flag(**more):
    return {"state": "ENABLED", "variants": {"on": True, "off": False, "0": True}, "defaultVariant": "off"} | more


@pytest.mark.parametrize(
    ("given", "one", "dealt"),
    [
        (flag(), "off", {"off": 100}),
        (flag(defaultVariant=None), None, None),
        (flag(defaultVariant=True, variants={"true": 1}), "true", {"true": 100}),
        (flag(state="DISABLED"), None, None),
        (flag(targeting={}), "off", {"off": 100}),
        (flag(targeting={"fractional": ON}), None, {"on": 5, "off": 95}),
        (flag(targeting={"fractional": [{"var": "tenant"}, *ON]}), None, {"on": 5, "off": 95}),
        (flag(targeting={"fractional": [["on"], ["off", 3]]}), None, {"on": 25, "off": 75}),
        (flag(targeting={"fractional": [["on", 1], ["off", 1], ["on", 2]]}), None, {"on": 75, "off": 25}),
        (flag(targeting={"fractional": [["on", 100], ["off", 0]]}), "on", {"on": 100}),
        (flag(targeting={"if": [STAFF, "on", {"fractional": ON}]}), None, {"on": 5, "off": 95}),
        (flag(targeting={"if": [STAFF, "on", {"fractional": [["on", 7]]}]}), None, {"on": 100}),
        (flag(targeting={"fractional": {"var": "shares"}}), None, None),
        (flag(targeting={"if": [STAFF, "on"]}), None, None),
        (flag(targeting={"if": [True, "off", {"fractional": ON}]}), "off", {"off": 100}),
        (flag(targeting={"if": [STAFF, "off"]}, metadata={"killed": True}), None, None),
        (flag(targeting={"if": [STAFF, {"fractional": ON}, {"fractional": ON}]}), None, None),
        (flag(targeting={"fractional": [["on", {"var": "weight"}], ["off", 1]]}), None, None),
        (flag(targeting={"fractional": [{"if": [STAFF, ["on", 1]]}, {"var": "x"}, ["on", 1]]}), None, None),
    ],
)
def test_what_a_definition_says(given, one, dealt):
    assert everybody(given) == one
    found = shares(given)
    assert (found if found is None else {name: share for name, share in found.items() if share}) == dealt


def test_it_is_the_percentage_that_was_set_and_one_variant_once_killed():
    document = {
        "flags": {"f": flag(variants={"on": 1, "off": 2}, metadata={"owner": "team-a", "kind": "ops"})},
    }
    quarter = with_percent(document, "f", "on", 12.5)
    assert shares(quarter["flags"]["f"]) == {"on": 12.5, "off": 87.5}
    assert everybody(killed(quarter, "f")["flags"]["f"]) == "off"
