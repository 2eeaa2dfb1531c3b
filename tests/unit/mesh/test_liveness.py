"""Whether a proxy hangs, with processes that are only like one."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

import pytest

from atoll.mesh import admin
from atoll.mesh import liveness as module
from atoll.mesh.liveness import LOOKS, SILENT, STOPPED, Liveness, Thread, main_thread

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


async def until(liveness, pid, found):
    """It may be a moment until the process is where it stays."""
    async with asyncio.timeout(20):
        while not await liveness.look(pid) or liveness.stuck(pid) != found:  # noqa: ASYNC110 - no event tells of it
            await asyncio.sleep(0.01)


async def test_a_process_that_is_stopped_hangs_and_one_that_has_ended_does_not(child, tmp_path):
    liveness = Liveness(tmp_path / "nobody.sock")
    for _ in range(LOOKS):
        assert not await liveness.look(child.pid)
    child.send_signal(signal.SIGSTOP)
    await until(liveness, child.pid, STOPPED)
    child.kill()
    child.wait()
    assert not await liveness.look(child.pid)
    assert liveness.stuck(child.pid) == ""


async def test_one_that_is_silent_and_does_nothing_hangs(child, mute, impatient):
    await until(Liveness(mute), child.pid, SILENT)


async def test_only_looks_in_a_row_at_one_process_are_too_many(tmp_path, seen):
    stopped = Thread(b"T", 10)
    liveness = Liveness(tmp_path / "nobody.sock")
    seen(*[stopped] * (LOOKS - 1), IDLE, *[stopped] * (LOOKS - 1), *[stopped] * LOOKS)
    pids = [1] * (LOOKS - 1) + [1] + [1] * (LOOKS - 1) + [2] * LOOKS
    assert [await liveness.look(pid) for pid in pids] == [False] * (len(pids) - 1) + [True]
    assert (liveness.stuck(2), liveness.stuck(1), liveness.stuck(None)) == (STOPPED, "", "")


async def test_one_that_runs_between_two_looks_is_not_stopped_for_good(tmp_path, seen):
    liveness = Liveness(tmp_path / "nobody.sock")
    seen(*(Thread(b"T", switches) for switches in range(LOOKS + 3)), *[Thread(b"T", LOOKS + 2)] * LOOKS)
    for _ in range(LOOKS + 3):
        assert not await liveness.look(1)
        assert liveness.stuck(1) == STOPPED
    assert [await liveness.look(1) for _ in range(LOOKS - 1)] == [False] * (LOOKS - 2) + [True]


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
    liveness = Liveness(mute)
    seen(*threads)
    for _ in range(2):
        assert not await liveness.look(1)
        assert liveness.stuck(1) == ""


async def test_one_that_takes_no_connection_any_more_is_silent_and_where_nobody_listens_yet_nobody_is(tmp_path):
    path = tmp_path / "admin.sock"
    assert await admin.answers(path, 0.05)
    with socket.socket(socket.AF_UNIX) as listening, ExitStack() as waiting:
        listening.bind(str(path))
        assert await admin.answers(path, 0.05)
        listening.listen(0)
        for _ in range(3):
            one = waiting.enter_context(socket.socket(socket.AF_UNIX))
            one.setblocking(False)
            with suppress(BlockingIOError):
                one.connect(str(path))
        assert not await admin.answers(path, 0.05)


async def test_one_that_does_nothing_and_answers_is_well(tmp_path, seen):
    asked = []

    async def answer(reader, writer):
        asked.append(await reader.readline())
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    liveness = Liveness(tmp_path / "admin.sock")
    seen(IDLE, IDLE)
    async with await asyncio.start_unix_server(answer, tmp_path / "admin.sock"):
        for _ in range(2):
            await liveness.look(1)
            assert liveness.stuck(1) == ""
    assert asked == [b"GET /hot_restart_version HTTP/1.1\r\n"], "the first look has nothing to compare with"


def test_the_main_thread_is_what_the_kernel_tells_of(child):
    found = main_thread(child.pid)
    assert found.state in {b"S", b"R"}
    assert found.switches > 0
    assert main_thread(1 << 22) is None  # beyond any pid
