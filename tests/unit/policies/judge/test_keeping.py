from __future__ import annotations

import json

import pytest

from atoll.policies.judge.counters import Reading, Snapshot
from atoll.policies.judge.evidence import Arm
from atoll.policies.judge.judging import observe
from atoll.policies.judge.keeping import from_json, to_json
from atoll.policies.judge.state import begin
from atoll.values.judging import JudgePolicy

POLICY = JudgePolicy(counts=("orders",))


def looked():
    state = begin(POLICY, 0.0)
    for at in (1, 2, 8):
        readings = tuple(
            Reading("mesh", name, arm, 10 * at, at, failed=(("UT", at),), counts=(("orders", "200 -", at),))
            for name, arm in (("c", Arm.CANARY), ("s", Arm.STABLE))
        )
        state, _ = observe(state, Snapshot(float(at), readings, 0.5, at), POLICY)
    return state


def test_a_state_is_the_same_after_it_was_written_down():
    assert from_json(to_json(looked())) == looked()
    assert from_json(to_json(begin(POLICY, 0.1 + 0.2))) == begin(POLICY, 0.1 + 0.2)


def test_words_are_words_of_their_kind_again():
    assert from_json(to_json(looked())).watch.phase is looked().watch.phase


@pytest.mark.parametrize("text", ["{}", json.dumps([0, []]), "null"])
def test_what_another_version_has_written_is_not_read(text):
    with pytest.raises(ValueError, match="another version"):
        from_json(text)
