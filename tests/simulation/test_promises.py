"""What the platform promises about releases and about its own death, each as one experiment."""

from __future__ import annotations

import itertools

import pytest

from atoll.plan.blueprint import Stage
from atoll.plan.restarts import FIRST_DELAY, LONGEST_DELAY
from atoll.testing.scripts import Player
from atoll.testing.world import Broken

BEGIN = "want a=3:v1 b=2:v1\nconverge 60\n"


def played(script: str) -> Player:
    player = Player()
    player.play(script)
    return player


def test_a_release_makes_exactly_as_many_instances_as_are_declared() -> None:
    assert played(BEGIN + "want a=3:v2 b=2:v1\nconverge 60").simulation.born == 3 + 2 + 3


@pytest.mark.parametrize("step", range(0, 120, 3))
def test_a_control_plane_that_dies_at_any_step_of_a_release_restarts_nothing(step: int) -> None:
    script = f"{BEGIN}want a=3:v2 b=2:v1\nmortal {step}\nconverge 120"
    assert played(script).simulation.born == 3 + 2 + 3


@pytest.mark.parametrize("moment", [0.01, 0.05, 0.1, 0.2, 0.4, 0.45, 0.5, 1, 1.5, 2, 3])
def test_a_control_plane_that_is_away_for_longer_than_a_start_may_take_restarts_nothing(moment: float) -> None:
    script = f"{BEGIN}want a=3:v2 b=2:v1\nwait {moment}\ncrash 30\nwait 30\nconverge 120"
    assert played(script).simulation.born == 3 + 2 + 3


def test_a_system_at_rest_survives_the_control_plane_without_an_action() -> None:
    player = played(BEGIN)
    before = len(player.lines)
    player.play("crash 5\nwait 100\ncrash 0.1\nwait 100")
    told = [line for line in player.lines[before:] if not line.startswith(">") and "control plane" not in line]
    assert told == []


def test_a_system_at_rest_keeps_its_very_blueprint() -> None:
    player = played(BEGIN)
    blueprint = player.simulation.memory.blueprint
    player.simulation.run(100)
    assert player.simulation.memory.blueprint is blueprint


@pytest.mark.parametrize("trouble", ["boot=never", "dies=0.1 boot=never", "startable=0"])
def test_a_failed_release_leaves_the_stable_instances_untouched(trouble: str) -> None:
    player = played(BEGIN)
    before = player.simulation.memory.blueprint.workloads["a"].instances
    player.play(f"behave v2 {trouble}\nwant a=3:v2 b=2:v1\nconverge 300")
    assert player.simulation.memory.blueprint.workloads["a"].instances == before
    assert player.simulation.memory.failed["a"]


def test_a_release_whose_proxies_are_silent_waits_without_going_back_or_forth() -> None:
    player = played(BEGIN + "want a=3:v2 b=2:v1\nwait 1")
    player.play("silence mesh 60\nwait 50")
    live = [i for i in player.simulation.memory.blueprint.workloads["a"].instances if i.stage is not Stage.STOP]
    assert len([i for i in live if i.stage is not Stage.DRAIN]) <= 4
    player.play("wait 10\nconverge 60")
    assert player.simulation.born == 3 + 2 + 3


def test_back_off_grows_to_its_cap_and_never_beyond() -> None:
    player = played("behave v1 dies=0.05 boot=never\nwant a=1:v1\nwait 900")
    starts = [float(line.split()[0]) for line in player.lines if "runs as process" in line]
    gaps = [after - before for before, after in itertools.pairwise(starts)]
    assert all(later > FIRST_DELAY / 2 for later in gaps[1:])
    assert all(gap < LONGEST_DELAY + 1 for gap in gaps)
    assert all(after > before for before, after in itertools.pairwise(gaps[:7]))
    assert len(set(gaps)) == len(gaps), "each wait has its own jitter"


def test_what_runs_well_for_a_while_and_then_dies_is_started_again_at_once() -> None:
    player = played("want a=1:v1\nconverge 60\nwait 10")
    for _ in range(5):
        player.play("kill a 0\nwait 6")
        assert player.simulation.converged() == ""


def test_the_simulator_notices_a_route_to_what_does_not_work() -> None:
    simulation = played(BEGIN).simulation
    simulation.watch.instant(blind=False)
    simulation.world.beings["a-r1-1"].ready = False  # and nobody is told
    simulation.watch.instant(blind=False)
    simulation.world.now += 1
    with pytest.raises(Broken, match="a-r1-1 does not work and has been routed to"):
        simulation.watch.instant(blind=False)
