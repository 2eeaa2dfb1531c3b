import math
import struct
from datetime import UTC, datetime

import cbor2
import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.kit.flags import Flags
from atoll.kit.flags.hashing import cbor, murmur3, starting_with

# Never change a line of these: a pinned hash is a promise about who is in and who is out.
MURMUR = {
    b"": 0,
    b"hello": 613153351,
    b"user-1": 4171401059,
    "größe|Zürich".encode(): 2041672193,
    bytes(range(200)): 2728750687,
}
BUCKETS = {  # of 1,000: by hash, then by targeting key
    "cbor-mmh3-1": {"user-1": 496, "user-2": 64, "3f2b8c1e-9d7a-4a51-b5b7-0d1b0a8c7e11": 372, "Zoë": 462, "": None},
    "concat-mmh3-1": {"user-1": 454, "user-2": 229, "3f2b8c1e-9d7a-4a51-b5b7-0d1b0a8c7e11": 507, "Zoë": 152, "": None},
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=30), inner, max_size=4),
    max_leaves=12,
)


def normal(value):
    """What flagd-core does to a value before it encodes it."""
    if isinstance(value, dict):
        return {name: normal(each) for name, each in value.items()}
    if isinstance(value, list):
        return [normal(each) for each in value]
    whole = isinstance(value, float) and value.is_integer() and -(2**63) <= value <= 2**64 - 1
    return int(value) if whole else value


@pytest.mark.parametrize("data", MURMUR)
def test_murmur_golden(data):
    assert murmur3(data) == MURMUR[data] == mmh3.hash(data, signed=False)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_murmur_with_any_prefix(prefix, data):
    assert starting_with(prefix)(data) == mmh3.hash(prefix + data, signed=False)


@given(json_values)
def test_cbor_as_cbor2_writes_it(value):
    assert cbor(value) == cbor2.dumps(normal(value), canonical=True)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (["flag", "user"], "8264666c61676475736572"),
        ("x" * 24, "7818" + "78" * 24),
        ("x" * 70000, "7a00011170" + "78" * 70000),
        (2.0, "02"),
        (1.5, "f93e00"),
        (0.1, "fb3fb999999999999a"),
        (math.nan, "f97e00"),
        (-math.inf, "f9fc00"),
        (struct.unpack(">f", b"\x3f\x80\x00\x01")[0], "fa3f800001"),
        (-(2**64) - 1, "c349010000000000000000"),
        ({"bb": 1, "a": [None, True, False]}, "a2616183f6f5f462626201"),
        ({300: 1, "a": 2}, "a2616102" + "19012c01"),
        (datetime(2026, 1, 2, tzinfo=UTC), "c074323032362d30312d30325430303a30303a30305a"),
    ],
)
def test_cbor_golden(value, written):
    assert cbor(value).hex() == written == cbor2.dumps(normal(value), canonical=True).hex()


@pytest.mark.parametrize("value", [object(), {1, 2}, datetime(2026, 1, 2)])  # noqa: DTZ001 - without a zone on purpose
def test_what_has_no_json_is_refused(value):
    with pytest.raises(TypeError):
        cbor([value])


@pytest.mark.parametrize("pinned", BUCKETS)
def test_the_buckets_of_a_pinned_hash(pinned):
    shares = [[str(number)] for number in range(1000)]
    flag = {
        "state": "ENABLED",
        "variants": {str(number): number for number in range(1000)},
        "targeting": {"fractional": shares},
        "metadata": {"hash": pinned},
    }
    flags = Flags.load({"flags": {"new-checkout": flag}})
    assert {key: flags.evaluate("new-checkout", {"targetingKey": key}).value for key in BUCKETS[pinned]} == BUCKETS[
        pinned
    ]


def test_the_string_that_concat_hashes():
    key = "new-checkoutuser-1"
    assert BUCKETS["concat-mmh3-1"]["user-1"] == mmh3.hash(key, signed=False) * 1000 >> 32
    written = cbor2.dumps(["new-checkout", "user-1"], canonical=True)
    assert BUCKETS["cbor-mmh3-1"]["user-1"] == mmh3.hash(written, signed=False) * 1000 >> 32


@pytest.mark.parametrize(
    ("by", "context", "same_as"),
    [
        ({"var": "tenant"}, {"tenant": "t1"}, "t1"),  # a string is hashed as it is
        ({"var": "tenant"}, {"targetingKey": "u"}, "fu"),  # nothing: the flag and the targeting key, as in Go
        ({"var": "tenant"}, {"tenant": 7, "targetingKey": "u"}, None),  # anything else gives nothing, as in Go
    ],
)
def test_what_concat_goes_by(by, context, same_as):
    flag = {
        "state": "ENABLED",
        "variants": {str(number): number for number in range(100)},
        "targeting": {"fractional": [by, *[[str(number)] for number in range(100)]]},
        "metadata": {"hash": "concat-mmh3-1"},
    }
    expected = None if same_as is None else mmh3.hash(same_as, signed=False) * 100 >> 32
    assert Flags.load({"flags": {"f": flag}}).evaluate("f", context).value == expected


@pytest.mark.parametrize("pinned", BUCKETS)
@pytest.mark.parametrize("by", [[], [{"var": "name"}]])
def test_a_key_that_is_no_unicode_is_nobody(pinned, by):
    flag = {
        "state": "ENABLED",
        "variants": {"a": 1},
        "targeting": {"fractional": [*by, ["a", 1]]},
        "metadata": {"hash": pinned},
    }
    found = Flags.load({"flags": {"f": flag}}).evaluate("f", {"targetingKey": "\ud800", "name": "\ud800"}, 0)
    assert (found.value, found.reason) == (0, "DEFAULT")
