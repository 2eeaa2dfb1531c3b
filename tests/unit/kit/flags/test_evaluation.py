import threading
from types import MappingProxyType

import cbor2
import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.kit import clock
from atoll.kit.flags import Flags, InvalidFlags
from atoll.kit.flags.compiling import NAMES

ON_OFF = {"on": True, "off": False}


def flag(targeting=None, **more):
    made = {"state": "ENABLED", "variants": ON_OFF, "defaultVariant": "off", "targeting": targeting, **more}
    return {name: value for name, value in made.items() if value is not None}


def load(targeting=None, evaluators=None, **more):
    return Flags.load(
        {"flags": {"f": flag(targeting, **more)}, "$evaluators": evaluators or {}, "metadata": {"set": "s"}}
    )


def test_what_is_said_of_a_flag():
    flags = load({"if": [{"var": "beta"}, "on"]}, metadata={"owner": "o"})
    yes, no = flags.evaluate("f", {"beta": True}, None), flags.evaluate("f", {}, None)
    assert (yes.value, yes.variant, yes.reason, yes.error_code) == (True, "on", "TARGETING_MATCH", None)
    assert (no.value, no.variant, no.reason) == (False, "off", "DEFAULT")
    assert dict(yes.metadata) == {"set": "s", "owner": "o"}
    assert flags.evaluate("f").reason == "DEFAULT"  # no context at all
    assert load().evaluate("f", {}).reason == "STATIC"


def test_a_flag_that_is_not_there():
    found = load().evaluate("g", {}, "mine")
    assert (found.value, found.reason, found.error_code, found.message) == (
        "mine",
        "ERROR",
        "FLAG_NOT_FOUND",
        "there is no flag g",
    )
    assert found.metadata == {"set": "s"}


@pytest.mark.parametrize(
    ("more", "reason"),
    [({"state": "DISABLED"}, "DISABLED"), ({"defaultVariant": None}, "DEFAULT"), ({"defaultVariant": ""}, "DEFAULT")],
)
def test_the_callers_default(more, reason):
    found = load(**more).evaluate("f", {}, "mine")
    assert (found.value, found.variant, found.reason, found.error_code) == ("mine", None, reason, None)


def test_a_default_variant_that_json_says_as_a_boolean():
    found = load(variants={"true": 1, "false": 0}, defaultVariant=False).evaluate("f")
    assert (found.value, found.variant) == (0, "false")


def test_what_is_no_variant_is_an_error_without_the_word():
    found = load({"var": "name"}).evaluate("f", {"name": "Erika Mustermann"}, "mine")
    assert (found.value, found.error_code, found.variant) == ("mine", "GENERAL", None)
    assert found.message == "f: targeting gives a str that is not a variant"


def test_a_context_that_is_none():
    found = load({"var": "name"}).evaluate("f", "name=x", "mine")
    assert (found.value, found.error_code, found.message) == (
        "mine",
        "INVALID_CONTEXT",
        "f: targeting failed with AttributeError",
    )


def test_any_mapping_is_a_context_and_stays_as_it_was():
    flags = load({"if": [{"==": [{"var": ["", 1]}, 1]}, "off", {"var": "x"}]})  # the whole context: a copy is made
    context = MappingProxyType({"x": "on"})
    assert flags.evaluate("f", context).value is True
    assert context == {"x": "on"}


def test_the_time_and_the_key(monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: 1_700_000_000.9)
    late = {">": [{"var": "$flagd.timestamp"}, 1_699_999_999]}
    assert load({"if": [late, "on"]}).evaluate("f").value is True
    assert load({"if": [{"==": [{"var": "$flagd.flagKey"}, "f"]}, "on"]}).evaluate("f").value is True
    whole = {
        "if": [{"==": [{"var": "$flagd.flagKey"}, "g"]}, "off", {"==": [{"cat": {"var": ["", 1]}}, "x"]}, "off", "on"]
    }
    assert load(whole).evaluate("f").value is True
    assert load({"if": [{"missing": ["$flagd.timestamp"]}, "off", "on"]}).evaluate("f").value is True


def test_evaluators_may_use_each_other_in_any_order():
    evaluators = {"c": {"==": [{"var": "x"}, 1]}, "a": {"$ref": "b"}, "b": {"!": {"$ref": "c"}}}
    flags = load({"if": [{"$ref": "a"}, "on", {"$ref": "c"}, "off"]}, evaluators)
    assert flags.evaluate("f", {"x": 2}).variant == "on"
    assert flags.evaluate("f", {"x": 1}).variant == "off"


def test_chains_that_are_too_long_are_refused():
    evaluators = {f"e{n}": {"!": {"$ref": f"e{n - 1}"}} for n in range(1, 1000)} | {"e0": {"var": "x"}}
    with pytest.raises(InvalidFlags, match=r"chains of \$ref are too long"):
        load({"if": [{"$ref": "e999"}, "on"]}, evaluators)


def test_a_list_in_targeting_is_nobody_elses():
    flags = load({"if": [{"in": ["x", {"merge": [["x"], {"var": "more"}]}]}, "on"]})
    more = ["y"]
    assert flags.evaluate("f", {"more": more}).value is True
    assert more == ["y"]


@pytest.mark.parametrize(
    ("haystack", "needle", "found"),
    [
        (["a", "b"], "b", True),
        (["a", "b"], ["b"], False),
        (["a"], 1, False),
        ([1, True], 1.0, True),
        ("abc", "b", True),
    ],
)
def test_in(haystack, needle, found):
    flags = load({"if": [{"in": [{"var": "x"}, haystack]}, "on", "off"]})
    assert flags.evaluate("f", {"x": needle}).value is found


def test_a_document_after_another_takes_over_what_is_the_same():
    before = Flags.load({"flags": {"a": flag(), "b": flag(), "c": flag()}})
    after = Flags.load({"flags": {"a": flag(), "b": flag(variants={"off": 0, "on": 1})}}, before)
    assert after.evaluate("a") is before.evaluate("a")
    assert (after.evaluate("b").value, type(after.evaluate("b").value)) == (0, int)  # false is 0 only to Python
    assert list(after) == ["a", "b"]
    assert ("a" in after, "c" in after, len(after)) == (True, False, 2)


def test_what_flags_share_belongs_to_what_changed():
    def document(word):
        return {"flags": {"f": flag({"if": [{"$ref": "e"}, "on"]})}, "$evaluators": {"e": {"==": [{"var": "x"}, word]}}}

    before = Flags.load(document("1"))
    assert Flags.load(document("2"), before).evaluate("f", {"x": "2"}).value is True


def test_a_broken_flag_after_a_sound_document_is_refused():
    before = Flags.load({"flags": {"a": flag()}})
    with pytest.raises(InvalidFlags, match="defaultVariant"):
        Flags.load({"flags": {"a": flag(defaultVariant="no")}}, before)


def test_a_rollout_inside_a_list_knows_the_items_key_only():
    # As in the reference: an item has a targeting key perhaps, and no flag.
    first = {"reduce": [{"var": "items"}, {"fractional": [["a"], ["b"]]}, None]}
    flags = load({"if": [{"==": [first, "a"]}, "on", "off"]})
    for number in range(20):
        key = f"user-{number}"
        # The item of a reduce is {"accumulator", "current"}, which has no key; that of a map is the item.
        assert flags.evaluate("f", {"items": [{"targetingKey": key}]}).variant == "off"
        wanted = mmh3.hash(cbor2.dumps(["", key], canonical=True), signed=False) * 2 >> 32 == 0
        dealt = {"map": [{"var": "items"}, {"fractional": [["a"], ["b"]]}]}
        found = load({"if": [{"in": ["a", dealt]}, "on", "off"]}).evaluate("f", {"items": [{"targetingKey": key}]})
        assert found.value is wanted


@pytest.mark.parametrize("context", [{"x": 1}, {"x": 1, "targetingKey": "u"}])
def test_a_rollout_by_everything_there_is(monkeypatch, context):
    monkeypatch.setattr(clock, "wall", lambda: 1_700_000_000.0)
    shares = [[str(number)] for number in range(1000)]
    variants = {str(number): number for number in range(1000)}
    found = load({"fractional": [{"var": ""}, *shares]}, variants=variants, defaultVariant="0").evaluate("f", context)
    whole = {"targetingKey": None, **context, "$flagd": {"flagKey": "f", "timestamp": 1_700_000_000}}
    assert found.value == mmh3.hash(cbor2.dumps(whole, canonical=True), signed=False) * 1000 >> 32


def test_many_threads_and_a_change_of_documents():
    documents = [Flags.load({"flags": {"f": flag({"if": [{"var": "x"}, name]})}}) for name in ON_OFF]
    current = [documents[0]]
    seen, done = set(), threading.Event()

    def ask():
        while not done.is_set():
            seen.add(current[0].evaluate("f", {"x": 1}).variant)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for turn in range(2000):
        current[0] = documents[turn % 2]
    done.set()
    for each in threads:
        each.join()
    assert seen <= {"on", "off"}


class Spiteful:
    """Fails at whatever one asks of it."""

    def _no(self, *_):
        raise RuntimeError("no")

    __eq__ = __bool__ = __str__ = __repr__ = __float__ = __lt__ = __len__ = __iter__ = _no
    __hash__ = None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3)
    | st.datetimes() | st.just("9" * 5000) | st.builds(Spiteful),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner)
    | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
contexts = st.none() | st.dictionaries(st.sampled_from(["x", "y", "targetingKey", "$flagd"]), values) | values
pieces = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**6) | st.floats()
    | st.sampled_from(["on", "off", "x", "", "1.2.3", ">="])
    | st.sampled_from([{"var": "x"}, {"var": "y.0"}, {"var": ""}, {"var": ["y", 1]}, {"var": "targetingKey"}]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(sorted(NAMES - {"$ref"})), st.lists(inner, min_size=1, max_size=4), min_size=1,
                      max_size=1),
    max_leaves=10,
)  # fmt: skip


@given(logic=pieces, context=contexts, pinned=st.sampled_from(["cbor-mmh3-1", "concat-mmh3-1"]))
def test_no_context_makes_it_raise(logic, context, pinned):
    try:
        flags = load(
            {"if": [logic, "on", {"fractional": [logic, ["on", 1], ["off", {"var": "x"}]]}]}, metadata={"hash": pinned}
        )
    except InvalidFlags:
        return
    found = flags.evaluate("f", context, "mine")
    assert found.variant in ("on", "off", None)
