from __future__ import annotations

from atoll.model.system import Compare, Tolerance
from atoll.policies.comparing.contract import contract


def test_the_contract_is_what_the_file_says():
    made = contract(
        Compare(
            headers=("etag",),
            masked=("id",),
            ignored=("debug",),
            sets=("tags",),
            keyed=(("items", "sku"),),
            tolerances=(("total", Tolerance(absolute=0.1)),),
            shown=("currency",),
        )
    )
    assert (made.status, made.headers, made.is_masked("id"), made.is_ignored("debug")) == (True, ("etag",), True, True)
    assert (made.array("tags"), made.array("items"), made.array("other")) == ("set", "sku", "list")
    assert made.tolerance("total") == Tolerance(absolute=0.1)
    assert made.is_shown("currency")
