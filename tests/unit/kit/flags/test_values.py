import math

import json_logic.builtins as reference
import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core.targeting import custom_ops

from atoll.kit.flags.operators import OPERATORS
from atoll.kit.flags.values import equals, lookup, number, text, truthy
from atoll.kit.flags.versions import COMPARISONS, parse, sem_ver

scalars = (
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["1", "1.0", " 2 ", "inf", "-inf", "nan", "infinity", "1_0", "0x1", "", "0", "true", "10"])
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)
identifiers = st.text("0123456789ab-", min_size=1, max_size=3)
numbers = st.sampled_from(["0", "1", "2", "10", "01", "", "a"])
versions = st.builds(
    lambda v, parts, pre, build: (
        v + ".".join(parts) + "".join("-" + each for each in pre) + "".join("+" + each for each in build)
    ),
    st.sampled_from(["", "", "v", "V", "vv"]),
    st.lists(numbers, min_size=1, max_size=4),
    st.lists(st.lists(identifiers, max_size=3).map(".".join), max_size=1),
    st.lists(identifiers, max_size=1),
)


def outcome(function, *args):
    try:
        found = function(*args)
    except Exception as error:  # noqa: BLE001 - the kind of failure is compared
        return type(error)
    return "NaN" if isinstance(found, float) and math.isnan(found) else (type(found), found)


@given(values)
def test_one_value(value):
    assert truthy(value) == reference.to_bool(value)
    assert outcome(number, value) == outcome(reference.to_number, value)
    assert text(value) == reference.to_string(value)


@given(values, values)
def test_equality(a, b):
    assert equals(a, b) == reference.op_equals(None, a, b)
    assert equals(a, a) == reference.op_equals(None, a, a)


@given(
    st.sampled_from(sorted(OPERATORS.keys() & reference.BUILTINS.keys() - {"log"})),
    st.lists(values, min_size=1, max_size=3),
)
def test_every_operator(name, args):
    assert outcome(OPERATORS[name], *args) == outcome(reference.BUILTINS[name], None, *args)


@given(
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab01"), inner)),
    st.lists(st.sampled_from(["a", "b", "0", "1", "-1", "01", "length", "", "x", "9" * 5000]), max_size=4).map(".".join)
    | st.sampled_from([None, 0, 1, 1.0, 1.5, -1, True]),
    scalars,
)
def test_looking_up(data, key, default):
    assert outcome(lookup, data, key, default) == outcome(reference.op_var, data, key, default)


@given(versions, st.sampled_from([*COMPARISONS, "==", 1, None, []]), versions | st.integers() | st.floats() | st.none())
def test_versions(one, comparison, other):
    assert sem_ver(one, comparison, other) == custom_ops.sem_ver({}, one, comparison, other)


@pytest.mark.parametrize("args", [(), ("1.0.0",), ("1.0.0", "="), ("1.0.0", "=", "1.0.0", "1.0.0")])
def test_versions_with_too_much_or_too_little(args):
    assert sem_ver(*args) is None


def test_the_order_of_pre_releases():
    order = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1"]
    order += ["1.0.0", "1.0.1", "1.1.0", "2.0.0"]
    mixed = order[::-1]
    assert sorted(mixed, key=parse) == sorted(mixed, key=semver.Version.parse) == order
    assert parse("9" * 5000 + ".0.0") is None


@pytest.mark.parametrize("name", ["starts_with", "ends_with"])
@given(args=st.lists(scalars | st.sampled_from(["a", "ab"]), max_size=3))
def test_beginnings_and_ends(name, args):
    assert OPERATORS[name](*args) == getattr(custom_ops, name)({}, *args)


def test_log_says_nothing(capsys):
    assert OPERATORS["log"]("secret") == "secret"
    assert capsys.readouterr().out == ""


def test_a_number_as_a_name_is_looked_up_twice_as_the_reference_does():
    assert lookup({1: {"1": "x"}}, 1) == "x"
