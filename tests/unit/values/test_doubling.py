from __future__ import annotations

from atoll.values.doubling import doubling


def test_each_time_is_twice_as_long_up_to_the_bound():
    assert [doubling(times, 0.5, 10.0) for times in (1, 2, 3, 5, 6, 10_000)] == [0.5, 1.0, 2.0, 8.0, 10.0, 10.0]
