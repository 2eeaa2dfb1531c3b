"""Corners of the compiler that no document reaches, because lint refuses it before."""

import math

import pytest

from atoll.kit.flags.compiling import Scope, compile_targeting
from atoll.kit.flags.hashing import CBOR


@pytest.mark.parametrize(
    ("piece", "context", "answer"),
    [
        ({"and": [{"!": [{"var": "a"}]}, {"!": [{"var": "b"}]}, {"!": [{"var": "c"}]}]}, {}, True),
        ({"and": [{"!": [{"var": "a"}]}, {"!": [{"var": "b"}]}, {"!": [{"var": "c"}]}]}, {"b": 1}, False),
        ({"missing_some": [1, {"var": "x"}]}, {"x": 5}, []),
        ({"all": [{"var": "l"}]}, {"l": [1]}, False),
        ({"substr": ["abc", -9]}, {}, "abc"),
        ({"substr": ["abc", {"var": "n"}]}, {"n": math.nan}, "abc"),
        ({"fractional": []}, {"targetingKey": "u"}, None),
        ({"fractional": [{"var": "tenant"}, ["on", "much"]]}, {"tenant": "t"}, None),
        ({"fractional": [{"var": "tenant"}, [{"var": "which"}, 1]]}, {"tenant": object(), "which": "on"}, None),
        ({"fractional": [{"var": "tenant"}, [{"var": "which"}, 1]]}, {"tenant": "t", "which": "on"}, "on"),
    ],
)
def test_corners(piece, context, answer):
    assert compile_targeting(piece, Scope("f", CBOR, {})).run(context) == answer
