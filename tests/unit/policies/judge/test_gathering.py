from __future__ import annotations

from atoll.policies.judge.evidence import Arm, Bucket, Unit
from atoll.policies.judge.gathering import gather

A = Unit("a", Arm.STABLE, 10, 1)


def test_pieces_make_a_bucket():
    still, filled = gather(None, Bucket(0.0, 2.0, (A,), 0.1), 5.0)
    assert filled is None
    still, filled = gather(still, Bucket(2.0, 5.0, (A,), 0.2), 5.0)
    assert still is None
    assert (filled.units, filled.asked) == ((Unit("a", Arm.STABLE, 20, 2),), 3.0)


def test_a_bucket_may_be_ended_early():
    assert gather(None, Bucket(0.0, 1.0, (A,)), 5.0, early=True)[1].units == (A,)


def test_a_share_that_was_not_always_known_is_not_known():
    still, _ = gather(None, Bucket(0.0, 2.0, (A,), 0.1), 5.0)
    assert gather(still, Bucket(2.0, 5.0, (A,)), 5.0)[1].asked is None
    still, _ = gather(None, Bucket(0.0, 2.0, (A,)), 5.0)
    assert gather(still, Bucket(2.0, 5.0, (A,), 0.1), 5.0)[1].asked is None
