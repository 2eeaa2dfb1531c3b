from __future__ import annotations

from dataclasses import replace

import pytest

from atoll.plan.blueprint import Stage
from atoll.plan.decisions import Pin
from atoll.plan.happenings import design_happenings, seen_happenings
from atoll.plan.observed import Exit, MeshSeen, Observed, Phase, Seen, describe, describe_failure

ALL = frozenset({"runtime", "probes", "mesh"})
BEFORE = Observed(1.0, answered=ALL)


def look(*seen, **changes):
    return replace(Observed(2.0, {"orders": {s.name: s for s in seen}}, answered=ALL), **changes)


def told(before, after, blueprint):
    return [(h.level, h.kind, h.subject, h.text) for h in seen_happenings(before, after, blueprint)]


@pytest.fixture
def blueprint(desk):
    one = desk(instances=1)
    return one.design()


NAME = "orders-r1-1"
CREATED = Seen(NAME, "orders", Phase.CREATED, 0, 0.0)
RUNNING = Seen(NAME, "orders", Phase.RUNNING, 42, 1.0)
ENDED = Seen(NAME, "orders", Phase.EXITED, 42, 1.0, Exit(2.0, code=3, log=("Traceback", "KeyError")))


def test_a_start_is_told_once(blueprint):
    assert told(look(CREATED), look(RUNNING), blueprint) == [("info", "started", NAME, "runs as process 42")]
    assert told(look(RUNNING), look(RUNNING), blueprint) == []


def test_what_is_adopted_is_not_started_again(blueprint):
    assert told(Observed(0.0), look(RUNNING), blueprint) == []


def test_what_ended_while_nobody_looked_is_told(blueprint):
    assert told(Observed(0.0), look(ENDED), blueprint)[0][1] == "crashed"
    stray = replace(ENDED, name="other")
    assert told(Observed(0.0), look(stray), blueprint) == []


def test_a_crash_shows_the_last_lines(blueprint):
    text = "has failed: it exited with code 3\n    Traceback\n    KeyError"
    assert told(look(RUNNING), look(ENDED), blueprint) == [("error", "crashed", NAME, text)]


def test_an_end_that_was_asked_for_is_no_crash(blueprint):
    workload = blueprint.workloads["orders"]
    stopping = tuple(replace(i, stage=Stage.STOP) for i in workload.instances)
    asked = replace(blueprint, workloads={"orders": replace(workload, instances=stopping)})
    assert told(look(RUNNING), look(ENDED), asked) == [("info", "stopped", NAME, "has ended: it exited with code 3")]


def test_what_somebody_did_behind_our_back_is_drift(blueprint):
    assert told(look(RUNNING), look(replace(RUNNING, altered="it was stopped")), blueprint) == [
        ("warning", "drift", NAME, "was altered: it was stopped")
    ]
    assert told(look(RUNNING), look(), blueprint) == [
        ("warning", "drift", NAME, "vanished: somebody removed it from the outside")
    ]
    assert told(look(RUNNING), look(answered=frozenset({"mesh"})), blueprint) == []


def test_a_process_that_was_killed_for_its_memory_is_told_once(blueprint):
    one, four = replace(RUNNING, killed=1), replace(RUNNING, killed=4)
    end = "(raise resources.memory, or use less)"
    assert told(look(RUNNING), look(one), blueprint) == [
        ("warning", "memory", NAME, f"runs on, but a process in it ran out of memory and was killed {end}")
    ]
    assert told(look(one), look(one), blueprint) == []
    assert told(look(one), look(four), blueprint) == [
        ("warning", "memory", NAME, f"runs on, but 3 processes in it ran out of memory and were killed {end}")
    ]
    assert told(Observed(0.0), look(four), blueprint) == []  # an earlier control plane has told it
    assert [kind for _, kind, *_ in told(look(four), look(ENDED), blueprint)] == ["crashed"]


def test_the_proxies_refuse_fall_silent_and_answer(blueprint):
    refused = replace(BEFORE, mesh=MeshSeen(rejected="no such cluster"))
    assert told(BEFORE, refused, blueprint) == [
        ("error", "rejected", "mesh", "Envoy refused a configuration: no such cluster")
    ]
    assert told(refused, refused, blueprint) == []
    silent = replace(BEFORE, answered=frozenset({"runtime", "probes"}))
    assert told(BEFORE, silent, blueprint) == [("warning", "mesh", "mesh", "a proxy does not answer")]
    assert told(silent, BEFORE, blueprint) == [("info", "mesh", "mesh", "the proxies answer")]
    named = replace(silent, away="the gateway proxy does not answer")
    assert told(BEFORE, named, blueprint) == [("warning", "mesh", "mesh", "the gateway proxy does not answer")]
    assert told(named, silent, blueprint) == []


def test_how_a_proxy_ended_is_told_once(blueprint):
    first, second = (f"the gateway proxy (process {pid}) has ended; another one is started" for pid in (7, 8))
    dead = replace(BEFORE, ends={"gateway": first})
    assert told(BEFORE, dead, blueprint) == [("warning", "mesh", "mesh", first)]
    assert told(dead, dead, blueprint) == []
    assert told(dead, replace(BEFORE, ends={"gateway": second}), blueprint) == [("warning", "mesh", "mesh", second)]


def test_a_design_tells_who_gets_traffic_and_who_loses_it(desk):
    one = desk(instances=1)
    first = one.design()
    one.running(NAME)
    one.word(NAME, ready=True)
    second = one.design()
    assert [(h.kind, h.text) for h in design_happenings(first, second)] == [("ready", "is ready and gets traffic")]
    one.word(NAME, ready=False)
    third = one.design()
    assert [(h.level, h.text) for h in design_happenings(second, third)] == [
        ("warning", "gets no traffic: answered 503")
    ]
    one.word(NAME, ready=False, live=False)
    fourth = one.design()
    assert [(h.kind, h.text) for h in design_happenings(third, fourth)] == [
        ("stopping", "is told to end: answered 503")
    ]
    assert list(design_happenings(fourth, fourth)) == []


def test_a_drain_and_a_back_off_are_told(desk):
    one = desk(instances=1)
    one.pin = Pin(one.recipe(1))
    one.serving()
    serving, one.service = one.blueprint, replace(one.service, instances=0)
    assert [h.text for h in design_happenings(serving, one.design())] == ["gets nothing new: it is no longer wanted"]
    one = desk(instances=1)
    one.design()
    for number in (1, 2):
        one.ended(f"orders-r1-{number}")
        before, after = one.blueprint, one.design()
    (waits,) = design_happenings(before, after)
    assert waits.kind == "back-off"
    assert waits.text.startswith("waits ")
    assert waits.text.endswith("as 2 in a row failed: it exited with code 1")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (Exit(0.0, code=2), "it exited with code 2"),
        (Exit(0.0, code=126), "it exited with code 126 (a shell's word for: it cannot be executed)"),
        (Exit(0.0, code=127), "it exited with code 127 (a shell's word for: it was not found)"),
        (Exit(0.0, signal=9), "it was killed by SIGKILL"),
        (Exit(0.0, signal=250), "it was killed by signal 250"),
        (Exit(0.0, oom=True, signal=9), "it ran out of memory and was killed (raise resources.memory, or use less)"),
        (Exit(0.0), "it ended while nobody was watching"),
    ],
)
def test_an_end_in_words(how, words):
    assert describe(how) == describe_failure(how) == words


def test_a_service_that_ends_as_if_nothing_was_wrong_gets_an_advice_and_what_was_to_end_gets_none():
    assert describe(Exit(0.0, code=0)) == "it exited with code 0"
    assert describe_failure(Exit(0.0, code=0)).endswith(
        "code 0 (a service has to run on: its command stays in the foreground)"
    )
    assert "foreground" not in describe_failure(Exit(0.0, code=0, oom=True))
