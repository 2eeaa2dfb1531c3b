"""Whether a proxy hangs, with processes that are only like one."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from atoll.mesh import pulse as module
from atoll.mesh.pulse import LOOKS, SILENT, STOPPED, Pulse, Thread, main_thread

IDLE = Thread(b"S", 10)


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); input()"], stdin=-1, stdout=-1)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
async def mute(tmp_path):
    """A socket at which somebody listens who never says anything."""
    path, over = tmp_path / "admin.sock", asyncio.Event()

    async def listen(_, writer):
        await over.wait()
        writer.close()

    server = await asyncio.start_unix_server(listen, path)
    yield path
    over.set()
    server.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.05)


@pytest.fixture
def seen(monkeypatch):
    """What the kernel tells, look by look."""

    def tell(*threads):
        coming = iter(threads)
        monkeypatch.setattr(module, "main_thread", lambda _: next(coming))

    return tell


async def until(pulse, pid, found):
    """It may be a moment until the process is where it stays."""
    async with asyncio.timeout(20):
        while not await pulse.look(pid) or pulse.stuck(pid) != found:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.01)


async def test_a_process_that_is_stopped_hangs_and_one_that_has_ended_does_not(child, tmp_path):
    pulse = Pulse(tmp_path / "nobody.sock")
    for _ in range(LOOKS):
        assert not await pulse.look(child.pid)
    child.send_signal(signal.SIGSTOP)
    await until(pulse, child.pid, STOPPED)
    child.kill()
    child.wait()
    assert not await pulse.look(child.pid)
    assert pulse.stuck(child.pid) == ""


async def test_one_that_is_silent_and_does_nothing_hangs(child, mute, impatient):
    await until(Pulse(mute), child.pid, SILENT)


async def test_only_looks_in_a_row_at_one_process_are_too_many(tmp_path, seen):
    stopped = Thread(b"T", 10)
    pulse = Pulse(tmp_path / "nobody.sock")
    seen(*[stopped] * (LOOKS - 1), IDLE, *[stopped] * (LOOKS - 1), *[stopped] * LOOKS)
    pids = [1] * (LOOKS - 1) + [1] + [1] * (LOOKS - 1) + [2] * LOOKS
    assert [await pulse.look(pid) for pid in pids] == [False] * (len(pids) - 1) + [True]
    assert (pulse.stuck(2), pulse.stuck(1), pulse.stuck(None)) == (STOPPED, "", "")


@pytest.mark.parametrize(
    "threads",
    [
        (IDLE, Thread(b"S", 11)),  # it ran since the last look
        (Thread(b"R", 10), Thread(b"R", 10)),  # and has not let go of its processor since
        (Thread(b"t", 10), Thread(b"t", 10)),  # a debugger holds it
        (IDLE, IDLE, Thread(b"S", 11)),  # it works while it is asked
        (IDLE, IDLE, None),  # it ended while it was asked
        (IDLE, None),
    ],
)
async def test_one_that_is_silent_is_left_alone_where_that_has_a_reason(mute, impatient, seen, threads):
    pulse = Pulse(mute)
    seen(*threads)
    for _ in range(2):
        assert not await pulse.look(1)
        assert pulse.stuck(1) == ""


async def test_one_that_does_nothing_and_answers_is_well(tmp_path, seen):
    asked = []

    async def answer(_, writer):
        asked.append(1)
        writer.close()

    pulse = Pulse(tmp_path / "admin.sock")
    seen(IDLE, IDLE)
    async with await asyncio.start_unix_server(answer, tmp_path / "admin.sock"):
        for _ in range(2):
            await pulse.look(1)
            assert pulse.stuck(1) == ""
    assert asked == [1], "the first look has nothing to compare with"


def test_the_main_thread_is_what_the_kernel_tells_of(child):
    found = main_thread(child.pid)
    assert found.state in {b"S", b"R"}
    assert found.switches > 0
    assert main_thread(1 << 22) is None  # beyond any pid
