"""What every runtime keeps to, the fake one included."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from atoll.errors import Conflict, Failed
from atoll.plan.observed import Phase
from atoll.testing.fakes import FakeMachine, FakeRuntime
from atoll.testing.grounds import Ground, process_ground, sandbox_ground, why_no_sandboxes

PROGRAM = """
import signal, sys, time
if sys.argv[1:] == ["stubborn"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    time.sleep(0.05)
"""


@dataclass
class Bench:
    """A runtime under test and how to make another control plane's runtime on the same machine."""

    ground: Ground
    new: object
    machine: FakeMachine | None

    @asynccontextmanager
    async def control_plane(self):
        runtime = self.new()
        told = []
        await runtime.prepare(lambda: told.append(1))
        runtime.told = told
        try:
            yield runtime
        finally:
            await runtime.close()

    def instance(self, *arguments, number=1):
        instance = self.ground.instance(self.ground.artifact(PROGRAM), *arguments, number=number)
        if self.machine is not None and "stubborn" in arguments:
            self.machine.stubborn.add(instance.name)
        return instance


@pytest.fixture(params=["fake", "process", pytest.param("sandbox", marks=pytest.mark.linux)])
def bench(request):
    if request.param == "sandbox" and why_no_sandboxes():
        pytest.skip(why_no_sandboxes())
    with ExitStack() as stack:
        if request.param == "sandbox":
            ground = stack.enter_context(sandbox_ground())
            yield Bench(ground, ground.sandboxes, None)
            return
        ground = stack.enter_context(process_ground())
        if request.param == "process":
            yield Bench(ground, ground.processes, None)
            return
        machine = FakeMachine()
        yield Bench(ground, lambda: FakeRuntime(machine, ground.log_dir), machine)


async def until(runtime, name, phase):
    deadline = time.monotonic() + 15
    while True:
        seen = (await runtime.observe()).get(name)
        if seen is not None and seen.phase is phase:
            return seen
        assert time.monotonic() < deadline, f"{name} is {seen}, not {phase}"
        await asyncio.sleep(0.01)


async def started(bench, runtime, *arguments, number=1):
    instance = bench.instance(*arguments, number=number)
    await runtime.create(instance, 1)
    await runtime.start(instance, bench.ground.artifact(PROGRAM), 1)
    if bench.machine is None:
        deadline = time.monotonic() + 10
        while "up" not in runtime.log(instance.name).read_text():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
    return instance


async def test_a_created_one_has_a_place_and_no_process(bench):
    async with bench.control_plane() as runtime:
        instance = bench.instance()
        await runtime.create(instance, 1)
        await runtime.create(instance, 1)
        seen = (await runtime.observe())[instance.name]
        assert (seen.phase, seen.service, seen.pid, seen.exit) == (Phase.CREATED, "orders", 0, None)


async def test_starting_twice_runs_one_process(bench):
    async with bench.control_plane() as runtime:
        before = time.time()
        instance = await started(bench, runtime)
        first = (await runtime.observe())[instance.name]
        await runtime.start(instance, bench.ground.artifact(PROGRAM), 1)
        assert (await runtime.observe())[instance.name] == first
        assert first.phase is Phase.RUNNING
        assert first.pid > 1
        assert first.started_at >= before - 0.01
        assert not first.altered


async def test_what_has_no_place_cannot_start(bench):
    async with bench.control_plane() as runtime:
        with pytest.raises(Failed, match="no place"):
            await runtime.start(bench.instance(), bench.ground.artifact(PROGRAM), 1)


async def test_stop_ends_it_and_says_so(bench):
    async with bench.control_plane() as runtime:
        instance = await started(bench, runtime)
        await runtime.stop(instance.name, 5.0, 1)
        await runtime.stop(instance.name, 5.0, 1)
        seen = await until(runtime, instance.name, Phase.EXITED)
        assert seen.exit.signal == 15
        assert not seen.exit.oom
        assert runtime.told


async def test_who_ignores_sigterm_is_killed_after_the_grace(bench):
    async with bench.control_plane() as runtime:
        instance = await started(bench, runtime, "stubborn")
        await runtime.stop(instance.name, 0.3, 1)
        assert (await runtime.observe())[instance.name].phase is Phase.STOPPING
        assert (await until(runtime, instance.name, Phase.EXITED)).exit.signal == 9


async def both_told_to_end(bench, runtime):
    """Two that ignore it, the first one with a short grace and the other with a long one."""
    short, long = [await started(bench, runtime, "stubborn", number=number) for number in (1, 2)]
    await runtime.stop(short.name, 0.3, 1)
    await runtime.stop(long.name, 600.0, 1)
    return short, long


def move_the_clock(monkeypatch, hours):
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + hours * 3600)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_the_grace_lasts_as_long_as_it_lasts_whoever_sets_the_clock(bench, monkeypatch, hours):
    async with bench.control_plane() as runtime:
        short, long = await both_told_to_end(bench, runtime)
        move_the_clock(monkeypatch, hours)
        assert (await until(runtime, short.name, Phase.EXITED)).exit.signal == 9
        assert (await runtime.observe())[long.name].phase is Phase.STOPPING


async def test_what_runs_cannot_be_removed_and_what_ended_is_forgotten(bench):
    async with bench.control_plane() as runtime:
        instance = await started(bench, runtime)
        with pytest.raises(Conflict, match="runs"):
            await runtime.remove(instance.name, 1)
        await runtime.stop(instance.name, 5.0, 1)
        await until(runtime, instance.name, Phase.EXITED)
        await runtime.remove(instance.name, 1)
        await runtime.remove(instance.name, 1)
        assert await runtime.observe() == {}


async def test_a_place_that_was_never_used_can_be_removed(bench):
    async with bench.control_plane() as runtime:
        instance = bench.instance()
        await runtime.create(instance, 1)
        await runtime.remove(instance.name, 1)
        assert await runtime.observe() == {}


async def test_older_orders_are_refused(bench):
    async with bench.control_plane() as runtime:
        instance = await started(bench, runtime)
        await runtime.create(bench.instance(number=2), 7)
        for order in (
            runtime.create(instance, 6),
            runtime.start(instance, bench.ground.artifact(PROGRAM), 6),
            runtime.stop(instance.name, 1.0, 6),
            runtime.remove(instance.name, 6),
        ):
            with pytest.raises(Conflict):
                await order
        assert (await runtime.observe())[instance.name].phase is Phase.RUNNING


async def test_orders_for_the_unknown_do_nothing(bench):
    async with bench.control_plane() as runtime:
        await runtime.stop("nobody-r1-1", 1.0, 1)
        await runtime.remove("nobody-r1-1", 1)
        assert await runtime.observe() == {}


async def test_it_outlives_the_control_plane_and_is_found_again(bench):
    async with bench.control_plane() as runtime:
        instance = await started(bench, runtime)
        before = (await runtime.observe())[instance.name]
    async with bench.control_plane() as runtime:
        assert (await runtime.observe())[instance.name] == before
        await runtime.stop(instance.name, 5.0, 1)
        await until(runtime, instance.name, Phase.EXITED)
        assert runtime.told


async def test_a_promise_to_end_it_passes_to_the_next_control_plane(bench):
    if bench.machine is not None:
        pytest.skip("a fake one has no memory of its own")
    async with bench.control_plane() as runtime:
        instance = await started(bench, runtime, "stubborn")
        await runtime.stop(instance.name, 0.5, 1)
    async with bench.control_plane() as runtime:
        await until(runtime, instance.name, Phase.EXITED)


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_promise_to_end_it_is_kept_by_the_next_control_plane_with_another_clock(bench, monkeypatch, hours):
    if bench.machine is not None:
        pytest.skip("a fake one has no memory of its own")
    async with bench.control_plane() as runtime:
        short, long = await both_told_to_end(bench, runtime)
    move_the_clock(monkeypatch, hours)
    async with bench.control_plane() as runtime:
        await until(runtime, short.name, Phase.EXITED)
        assert (await runtime.observe())[long.name].phase is Phase.STOPPING


async def test_what_runs_is_counted(bench):
    async with bench.control_plane() as runtime:
        instance = await started(bench, runtime)
        usage = (await runtime.usage())[instance.name]
        assert usage.cpu > 0
        assert usage.memory > 100_000
        assert 1 <= usage.pids <= 4
        await runtime.stop(instance.name, 5.0, 1)
        await until(runtime, instance.name, Phase.EXITED)
        assert await runtime.usage() == {}
