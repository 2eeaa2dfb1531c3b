"""The contract that the file asks for."""

from __future__ import annotations

from atoll.model.system import Compare
from atoll.policies.comparing.canonical import SET, Contract


def contract(compare: Compare) -> Contract:
    """What of an answer counts."""
    return Contract(
        headers=compare.headers,
        masked=compare.masked,
        ignored=compare.ignored,
        arrays=(*((path, SET) for path in compare.sets), *compare.keyed),
        tolerances=compare.tolerances,
        shown=compare.shown,
    )
