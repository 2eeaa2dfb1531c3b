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


@pytest.fixture
def obeyed(scene, monkeypatch):
    """An engine that does at once what is asked of a rollout. Before the control plane that pokes it."""
    poke = type(scene)._poke

    def poked(self):
        poke(self)
        for asked in self.store.asked():
            release = self.store.pin(asked.service).target.release
            self.store.abort(asked.service, release, asked.reason, asked=asked.asked)

    monkeypatch.setattr(type(scene), "_poke", poked)


@pytest.fixture
def rolling(obeyed, control_plane, scene):
    """A rollout of orders: beside a release that serves, or the first one."""

    def begin(*, first):
        scene.outcome = None
        if not first:
            scene.serve_now()
        change = scene.store.request("apply", ("orders",), b"{}", scene.at)
        scene.store.take_effect(change, scene.system, [scene.recipe("orders", 2)], (), scene.at)

    return lambda first: control_plane.call(lambda: begin(first=first))


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (False, "release 2: rolling -> rolled-back; it is sent nothing more; the old release never stopped serving"),
        (True, "release 1: rolling -> rolled-back; there was none before it, so nothing of it runs now"),
    ],
)
def test_a_rollout_that_is_aborted_is_followed_to_its_end(atoll, rolling, first, words):
    rolling(first)
    said = atoll("abort", "orders")
    assert said.code == 0
    assert words in said.out


def test_a_build_that_is_aborted_is_named(atoll, control_plane, scene):
    scene.outcome = None
    control_plane.call(lambda: scene.store.request("apply", ("orders",), b"{}", scene.at))
    said = atoll("abort", "orders")
    assert said.out == "orders: change 1 (apply) is cancelled; what ran before goes on\n"
