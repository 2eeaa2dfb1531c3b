import copy
import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.kit.flags import Flags, InvalidFlags, lint, parse

TODAY = date(2026, 11, 25)
GOOD = {
    "$schema": "https://flagd.dev/schema/v0/flags.json",
    "metadata": {"flagSetId": "shop", "version": 3},
    "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@corp.com"]}},
    "flags": {
        "checkout": {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "off",
            "targeting": {
                "if": [
                    {"and": [{"$ref": "staff"}, {"sem_ver": [{"var": "version"}, ">=", "1.2"]}]},
                    "on",
                    {"fractional": [["on", 5], ["off", 95]]},
                ]
            },
            "metadata": {"owner": "team-a", "kind": "release", "expires": "2027-01-31", "killVariant": "off"},
        },
        "limit/size~1": {
            "state": "DISABLED",
            "variants": {"small": 10, "large": 10.5},
            "defaultVariant": "small",
            "metadata": {"owner": "team-b", "kind": "ops", "hash": "concat-mmh3-1"},
        },
    },
}
FLAG = "/flags/checkout"
IF = f"{FLAG}/targeting/if"
GONE = object()

AT = "flags/checkout"
CHAIN = f"{AT}/targeting/if"
DEALT = f"{CHAIN}/2/fractional"
VERSION = f"{CHAIN}/0/and/1/sem_ver"
SHARES = f"{IF}/2/fractional"
VERSIONS = f"{IF}/0/and/1/sem_ver"

# Where something else is put, what, and what is found: level, place, a piece of the reason and of the mend.
SEEDED = [
    ("flags", [], "error", "/flags", "no object of flags", '{"flags"'),
    ("metadata", [], "error", "/metadata", "not an object", "owner"),
    ("metadata/flagSetId", None, "error", "/metadata/flagSetId", "neither text, a number nor a boolean", "one of them"),
    ("$evaluators", [1], "error", "/$evaluators", "not an object", "name"),
    ("$evaluators/other", {"var": "x"}, "warning", "/$evaluators/other", "no flag uses this", "leave it out"),
    ("$evaluators/staff", {"$ref": "staff"}, "error", "/$evaluators/staff", "itself in a circle", "write out"),
    ("$evaluators/staff", {"ends": 1}, "error", "/$evaluators/staff/ends", "no operator ends", "ends_with"),
    ("owners", {}, "warning", "/owners", "no field owners", "one of"),
    ("flags/checkout", None, "error", FLAG, "not an object", "state"),
    ("flags/", {}, "error", "/flags/", "printable name", "give it one"),
    (f"{AT}/targetting", {}, "error", f"{FLAG}/targetting", "no field targetting", "write targeting"),
    (f"{AT}/state", "enabled", "error", f"{FLAG}/state", "'enabled'", "ENABLED or DISABLED"),
    (f"{AT}/state", GONE, "error", f"{FLAG}/state", "None", "ENABLED or DISABLED"),
    (f"{AT}/variants", {}, "error", f"{FLAG}/variants", "no variants", '"on"'),
    (f"{AT}/variants", [True], "error", f"{FLAG}/variants", "no variants", '"on"'),
    (f"{AT}/variants/off", "no", "error", f"{FLAG}/variants", "on is a boolean, off is a string", "one type"),
    (f"{AT}/variants/off", 0, "error", f"{FLAG}/variants", "off is a number", "one type"),
    (f"{AT}/variants/third", None, "error", f"{FLAG}/variants/third", "has no value", "leave it out"),
    (f"{AT}/variants/", True, "error", f"{FLAG}/variants/", "no name", "give it one"),
    (f"{AT}/variants", {"on": True}, "error", f"{SHARES}/1/0", "'off' is not among", "write on"),
    (f"{AT}/defaultVariant", "of", "error", f"{FLAG}/defaultVariant", "'of' is not among", "write off"),
    (f"{AT}/defaultVariant", ["on"], "error", f"{FLAG}/defaultVariant", "is not among", "one of off, on"),
    (f"{AT}/defaultVariant", GONE, "warning", f"{FLAG}/defaultVariant", "what the code says", "write off"),
    (f"{AT}/targeting", "on", "error", f"{FLAG}/targeting", "not an object", "operation"),
    (f"{AT}/targeting", {"iff": []}, "error", f"{FLAG}/targeting/iff", "no operator iff", "write if"),
    (f"{AT}/targeting", {"zzz": 1}, "error", f"{FLAG}/targeting/zzz", "no operator zzz", "one of !"),
    (f"{AT}/targeting", {"if": [], "or": []}, "error", f"{FLAG}/targeting", "has 2 (if, or)", "nest"),
    (f"{AT}/targeting", {"!": [1, 2]}, "error", f"{FLAG}/targeting/!", "takes 1 arguments, this has 2", "list"),
    (f"{AT}/targeting", {"if": []}, "error", IF, "takes at least 1", "list"),
    (f"{AT}/targeting", {"<": [1]}, "error", f"{FLAG}/targeting/<", "takes 2 to 3", "list"),
    (f"{AT}/targeting", {"==": [1, {"var": "x"}]}, "error", f"{FLAG}/targeting/==", "comes to true", "in an if"),
    (f"{CHAIN}/1", "onn", "error", f"{IF}/1", "'onn' is not among the variants", "write on"),
    (f"{CHAIN}/1", ["on"], "error", f"{IF}/1", "not among the variants", "one of"),
    (f"{CHAIN}/1", 7, "error", f"{IF}/1", "7 is not among", "one of"),
    (f"{CHAIN}/1", {"$ref": "staff"}, "error", "/$evaluators/staff/ends_with", "comes to false", "if"),
    (f"{CHAIN}/0", {"$ref": "stuff"}, "error", f"{IF}/0/$ref", "has no stuff", "write staff"),
    (f"{CHAIN}/0", {"$ref": 7}, "error", f"{IF}/0/$ref", "has no 7", "staff"),
    (f"{VERSION}/1", "=>", "error", f"{VERSIONS}/1", "compares no", ">="),
    (f"{VERSION}/1", [], "error", f"{VERSIONS}/1", "compares no", "one of"),
    (f"{VERSION}/2", "1.x", "error", f"{VERSIONS}/2", "not a version", "1.2.3"),
    (DEALT, ["on"], "error", SHARES, "nothing is left", "shares"),
    (f"{DEALT}/0", ["on", 1, 2], "error", f"{SHARES}/0", "a share is", "like"),
    (f"{DEALT}/1", "off", "error", f"{SHARES}/1", "a share is", "like"),
    (f"{DEALT}/0/1", 2.5, "error", f"{SHARES}/0/1", "2.5 is not an integer", "whole"),
    (f"{DEALT}/0/1", True, "error", f"{SHARES}/0/1", "True is not", "whole"),
    (f"{DEALT}/0/1", "5", "error", f"{SHARES}/0/1", "'5' is not", "whole"),
    (f"{DEALT}/0/1", -5, "error", f"{SHARES}/0/1", "is not between 0", "at least 0"),
    (f"{DEALT}/0/1", 2**31, "error", f"{SHARES}/0/1", "2147483647", "smaller"),
    (DEALT, [["on", 0], ["off", 0]], "error", SHARES, "all weights", "above 0"),
    (f"{DEALT}/0/0", "an", "error", f"{SHARES}/0/0", "'an' is not among", "one of off, on"),
    (f"{CHAIN}/0", True, "warning", f"{IF}/2", "above always holds", "mend it"),
    (f"{CHAIN}/0", {"==": [1, 2]}, "warning", f"{IF}/1", "its condition never holds", "mend"),
    (f"{CHAIN}/0", {"log": {"var": "x"}}, "warning", f"{IF}/0/log", "writes nothing", "leave"),
    (
        "flags/checkout/targeting",
        {"if": [{"var": "x"}, "on", {"var": "y"}, "off", {"var": "x"}, "off"]},
        "warning", f"{IF}/5", "the same condition is above", "leave it out",
    ),
    (f"{AT}/metadata/killed", True, "error", f"{FLAG}/metadata/killed", "says that the flag is killed", "leave"),
    (f"{AT}/metadata/releasing", "on", "error", f"{FLAG}/metadata/releasing", "is not in the document", "leave it out"),
    (f"{AT}/metadata", "team-a", "error", f"{FLAG}/metadata", "not an object", "owner"),
    (f"{AT}/metadata/note", {"a": 1}, "error", f"{FLAG}/metadata/note", "neither text", "write one"),
    (f"{AT}/metadata/hash", "mmh3", "error", f"{FLAG}/metadata/hash", "no hash mmh3", "mmh3-1"),
    (f"{AT}/metadata/killVariant", "no", "error", f"{FLAG}/metadata/killVariant", "'no' is not", "one of off, on"),
    (f"{AT}/metadata/owner", GONE, "error", f"{FLAG}/metadata/owner", "nobody owns", "team-a"),
    (f"{AT}/metadata/kind", GONE, "error", f"{FLAG}/metadata/kind", "is not said", "release"),
    (f"{AT}/metadata/kind", "realese", "error", f"{FLAG}/metadata/kind", "no kind of flag realese", "write release"),
    (f"{AT}/metadata/expires", GONE, "error", f"{FLAG}/metadata/expires", "when this flag goes", "ops or permission"),
    (f"{AT}/metadata/expires", "soon", "error", f"{FLAG}/metadata/expires", "'soon' is not a date", "2027-01-31"),
    (f"{AT}/metadata/expires", 2027, "error", f"{FLAG}/metadata/expires", "2027 is not a date", "2027-01-31"),
    (f"{AT}/metadata/expires", "2026-11-24", "warning", f"{FLAG}/metadata/expires", "expired 1 day ago", "remove"),
    (f"{AT}/metadata/expires", "2026-11-01", "warning", f"{FLAG}/metadata/expires", "24 days ago", "remove"),
    ("flags/limit~1size~01/variants/large", "10", "error", "/flags/limit~1size~01/variants", "mixed types", "one type"),
]  # fmt: skip


def seeded(path, value):
    document = copy.deepcopy(GOOD)
    *way, last = (name.replace("~1", "/").replace("~0", "~") for name in path.split("/"))
    place = document
    for name in way:
        place = place[int(name) if isinstance(place, list) else name]
    if value is GONE:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = value
    return document


def test_a_good_document():
    assert lint(GOOD, today=TODAY) == []
    assert len(Flags.load(GOOD)) == 2


@pytest.mark.parametrize(("path", "value", "level", "place", "reason", "mend"), SEEDED)
def test_each_seeded_fault_is_found(path, value, level, place, reason, mend):
    found = [each for each in lint(seeded(path, value), today=TODAY) if each.path == place]
    assert any(each.level == level and reason in each.reason and mend in each.mend for each in found), found
    assert str(found[0]) == f"{found[0].path}: {found[0].reason}: {found[0].mend}"


@given(
    st.lists(
        st.sampled_from([case for case in SEEDED if "/" in case[0]]),
        min_size=2,
        max_size=2,
        unique_by=lambda case: case[3],
    )
)
def test_faults_in_two_flags_are_both_found(cases):
    (path, value, _, place, reason, _), other = cases[0], cases[1]
    document = seeded(path, value)
    second = seeded(other[0], other[1])["flags"]
    document["flags"] |= {f"second-{key}": flag for key, flag in second.items()}
    found = lint(document, today=TODAY)
    assert any(each.path == place and reason in each.reason for each in found) or cases[0][2] == "warning"
    if other[3].startswith(FLAG) and other[2] == "error" and not path.startswith("$evaluators"):
        place = other[3].replace(FLAG, "/flags/second-checkout")
        assert any(each.path == place and other[4] in each.reason for each in found)


def test_conditions_that_are_equal_to_python_only_are_two():
    targeting = {"if": [{"===": [{"var": "x"}, 1]}, "on", {"===": [{"var": "x"}, True]}, "off"]}
    found = lint(seeded("flags/checkout/targeting", targeting), today=TODAY)
    assert [each.reason for each in found] == ["no flag uses this"]


def test_of_many_names_some_are_told_and_long_ones_are_not_compared():
    many = {f"v{n}": n for n in range(101)}
    flag = {"variants": many, "defaultVariant": "v10x", "targeting": {"if": [{"var": "x"}, "v" * 200]}}
    found = [str(each) for each in lint({"flags": {"f": GOOD["flags"]["checkout"] | flag}}, today=TODAY)]
    (default,) = (each for each in found if "defaultVariant" in each)
    assert default.endswith(", v98, ...")
    assert "v99" not in default
    few = flag | {"variants": {"v" * 199: 1, "w": 2}, "defaultVariant": "w"}
    found = [str(each) for each in lint({"flags": {"f": GOOD["flags"]["checkout"] | few}}, today=TODAY)]
    assert any("is not among the variants: use one of" in each for each in found)


@pytest.mark.parametrize(
    "more",
    [
        lambda n: {"targeting": {"if": [{"var": "x"}, *[f"o{n}" for n in range(n)]]}},
        lambda n: {"targeting": {"if": [{"var": "x"}, "on", *[{"iff": n} for n in range(n)]]}},
        lambda n: {"metadata": GOOD["flags"]["checkout"]["metadata"] | {f"m{n}": [] for n in range(n)}},
    ],
)
def test_of_too_many_errors_the_first_are_told(more):
    found = lint({"flags": {"f": GOOD["flags"]["checkout"] | more(3000)}}, today=TODAY)
    assert len(found) == 1001
    assert str(found[1000]) == "/: there are more than 1,000 errors: correct these first"


def test_of_too_many_in_evaluators_the_first_are_told():
    found = lint(GOOD | {"$evaluators": {"staff": {"or": [{"$ref": f"s{n}"} for n in range(3000)]}}}, today=TODAY)
    assert len(found) == 1001


def test_a_whole_document_of_nonsense():
    for document in (None, [], "x", 7, {}, {"flags": None}):
        (found,) = lint(document, today=TODAY)
        assert (found.level, found.path) == ("error", "/flags")


WORDS = ["flags", "if", "$ref", "metadata", "variants", "targeting", "state", "fractional", "sem_ver"]
nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=20,
)


@given(nonsense)
def test_lint_never_raises(document):
    lint(document, today=TODAY)
    lint({"flags": {"f": document}, "$evaluators": document}, today=TODAY)
    lint({"flags": {"f": {"state": "ENABLED", "variants": {"a": 1}, "targeting": document}}}, today=TODAY)


def test_what_lint_passes_can_be_loaded():
    for path, value, *_ in SEEDED:
        document = seeded(path, value)
        if any(each.level == "error" and "/metadata/" not in each.path for each in lint(document, today=TODAY)):
            with pytest.raises(InvalidFlags):
                Flags.load(document)
        elif not any(each.level == "error" for each in lint(document, today=TODAY)):
            Flags.load(document)


def test_nested_too_deeply():
    logic = {"var": "x"}
    for _ in range(60):
        logic = {"!": [logic]}
    assert any(
        "nested deeper than 50" in each.reason
        for each in lint(seeded("flags/checkout/targeting/if/0", logic), today=TODAY)
    )


def test_chains_of_evaluators_that_are_too_long():
    chain = {f"e{n}": {"!": {"$ref": f"e{n - 1}"}} for n in range(1, 900)} | {"e0": {"var": "x"}}
    document = seeded("$evaluators", chain | GOOD["$evaluators"])
    document["flags"]["checkout"]["targeting"] = {"if": [{"$ref": "e899"}, "on"]}
    (found,) = lint(document, today=TODAY)
    assert "chains of $ref are too long" in found.reason


def test_a_fault_in_an_evaluator_is_said_once():
    document = seeded("$evaluators/staff", {"nope": 1})
    document["flags"]["second"] = document["flags"]["checkout"]
    assert [each.path for each in lint(document, today=TODAY)] == ["/$evaluators/staff/nope"]


def test_a_fault_in_an_evaluator_that_decides():
    document = seeded("$evaluators/staff", {"$ref": "nope"})
    document["flags"]["checkout"]["targeting"] = {"$ref": "staff"}
    assert [each.path for each in lint(document, today=TODAY)] == ["/$evaluators/staff/$ref"]


def test_a_flag_may_live_through_its_last_day():
    assert lint(seeded(f"{AT}/metadata/expires", TODAY.isoformat()), today=TODAY) == []


def test_a_circle_over_two():
    document = seeded("$evaluators", {"a": {"$ref": ["b"]}, "b": {"!": {"$ref": "a"}}, **GOOD["$evaluators"]})
    found = lint(document, today=TODAY)
    assert [each.path for each in found] == ["/$evaluators/a", "/$evaluators/b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not JSON"),
        ("[]", "not an object"),
        ('{"flags": {"a": {}, "a": {}}}', '"a" is twice'),
        ('{"flags": NaN}', "NaN is not a number"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff", "not JSON"),
    ],
)
def test_text_that_is_refused(text, reason):
    with pytest.raises(InvalidFlags, match=reason) as refused:
        parse(text)
    assert refused.value.findings[0].mend


def test_text_that_is_read():
    assert parse(json.dumps(GOOD)) == parse(json.dumps(GOOD).encode()) == GOOD


def test_chains_of_results_that_are_too_long_are_a_fault():
    chain = {f"e{n}": {"if": [{"var": "x"}, {"$ref": f"e{n - 1}"}, "on"]} for n in range(1, 900)} | {"e0": "off"}
    document = seeded("$evaluators", chain)
    document["flags"] = {"checkout": GOOD["flags"]["checkout"] | {"targeting": {"if": [True, {"$ref": "e899"}, "on"]}}}
    with pytest.raises(InvalidFlags, match=r"chains of \$ref are too long"):
        Flags.load(document)


def test_more_evaluators_than_can_be_looked_through():
    document = seeded("$evaluators", {f"e{n}": {"var": "x"} for n in range(1001)})
    (found,) = [each for each in lint(document, today=TODAY) if each.path == "/$evaluators"]
    assert found.reason == "there are 1,001 evaluators, 1,000 are allowed"


def test_all_problems_are_in_the_refusal():
    document = seeded("flags/checkout/state", "on")
    document["flags"]["checkout"]["defaultVariant"] = "none"
    with pytest.raises(InvalidFlags) as refused:
        Flags.load(document)
    assert len(refused.value.findings) == len(str(refused.value).splitlines()) == 2


def test_a_document_that_is_too_deep_is_refused():
    deep = {"!": [True]}
    for _ in range(3000):
        deep = {"!": [deep]}
    document = copy.deepcopy({**GOOD, "flags": {}})
    document["flags"]["deep"] = {**GOOD["flags"]["checkout"], "targeting": {"if": [deep, "on"]}}
    with pytest.raises(InvalidFlags, match="deep"):
        Flags.load(document)


def test_shares_that_are_reckoned_are_not_counted():
    document = copy.deepcopy(GOOD)
    document["flags"]["checkout"]["targeting"] = {"fractional": [{"var": "plan"}, {"merge": [["on"], [5]]}]}
    assert [each for each in lint(document, today=TODAY) if "share" in each.reason] == []


def test_a_last_condition_that_always_holds_hides_nothing():
    document = copy.deepcopy(GOOD)
    document["flags"]["checkout"]["targeting"] = {"if": [{"==": [{"var": "a"}, 1]}, "on", True, "off"]}
    assert [each for each in lint(document, today=TODAY) if "never reached" in each.reason] == []
