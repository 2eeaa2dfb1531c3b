from __future__ import annotations

from atoll.policies.comparing.valve import FIRST, IN_A_ROW, LONGEST, Valve, after


def slow(valve, times, at):
    for _ in range(times):
        valve = after(valve, slow=True, at=at)
    return valve


def test_some_slow_answers_in_a_row_close_it_for_a_while():
    valve = slow(Valve(), IN_A_ROW - 1, 10.0)
    assert valve.lets(10.0)
    valve = slow(valve, 1, 10.0)
    assert (valve.lets(10.0), valve.lets(10.0 + FIRST - 0.1), valve.lets(10.0 + FIRST)) == (False, False, True)


def test_a_good_answer_in_between_begins_anew():
    valve = after(slow(Valve(), IN_A_ROW - 1, 0.0), slow=False, at=0.0)
    assert slow(valve, IN_A_ROW - 1, 0.0).lets(0.0)


def test_a_slow_probe_closes_it_again_for_longer_up_to_a_bound():
    valve, at, pauses = slow(Valve(), IN_A_ROW, 0.0), 0.0, []
    for _ in range(8):
        at = valve.until
        valve = after(valve, slow=True, at=at)
        pauses.append(valve.until - at)
    assert pauses[:3] == [2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert max(pauses) == LONGEST
    assert after(valve, slow=False, at=valve.until) == Valve()


def test_what_had_begun_before_it_closed_changes_nothing():
    valve = slow(Valve(), IN_A_ROW, 0.0)
    assert after(valve, slow=True, at=1.0) is valve
    assert after(valve, slow=False, at=1.0) is valve
