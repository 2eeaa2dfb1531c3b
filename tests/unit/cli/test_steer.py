"""What a person is told who steers a release."""

import pytest

from atoll.cli.steer import follows


@pytest.mark.parametrize(
    ("service", "signal", "state", "words"),
    [
        ("orders", "release", "growing", "its first share of traffic follows"),
        ("orders", "release", "shadow", "copies of requests are compared first"),
        ("orders", "hold", "holding", "it keeps its share and is still judged"),
        ("orders", "hold", "dark", "nobody is sent to it; `atoll release` begins"),
        ("orders", "abort", "rolled-back", "the old release never stopped serving"),
        ("orders", "abort", "serving", "it was too late, everybody is sent to it; `atoll rollback orders` goes back"),
        ("flag:new", "promote", "full", "everybody gets it"),
    ],
)
def test_it_is_said_what_happens_to_whom(service, signal, state, words):
    assert words in follows(service, signal, state)
