"""What only real processes can show: signals, limits, logs, crashes of the control plane, meddling."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import threading
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import msgspec
import pytest

from atoll.drivers.host import cgroups, fabric, logs, proc, supervisor
from atoll.drivers.host.commands import run as tool
from atoll.drivers.host.files import write_atomically
from atoll.drivers.host.records import Record
from atoll.errors import AtollError, Conflict, Failed, Unavailable
from atoll.model.system import Resources
from atoll.plan.observed import Phase
from atoll.testing.grounds import process_ground, sandbox_ground, why_no_sandboxes

pytestmark = pytest.mark.linux

PROGRAM = """
import os, signal, subprocess, sys, time

def say(*words):
    print(*words, flush=True)

def wait():
    while True:
        time.sleep(0.05)

def term(*_):
    say("told to end")
    sys.exit(0)

what = sys.argv[1]
if what == "serve":
    signal.signal(signal.SIGTERM, term)
    say("up", os.getcwd())
    wait()
elif what == "exit":
    say("about to exit")
    sys.exit(int(sys.argv[2]))
elif what == "environment":
    for name, value in sorted(os.environ.items()):
        say(f"{name}={value}")
    say("end")
    wait()
elif what == "slow":
    signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), say("finished"), os._exit(0)))
    say("up")
    wait()
elif what == "family":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    say("up")
    wait()
elif what == "leaver":
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    say("up")
    sys.exit(7)
elif what == "hog":
    say("up")
    held = []
    while True:
        held.append(b"x" * (4 << 20))
elif what == "parent":
    say("up")
    subprocess.Popen([sys.executable, __file__, "hog"]).wait()
    wait()
elif what == "bomb":
    count = 0
    try:
        while count < 500:
            if os.fork() == 0:
                time.sleep(600)
            count += 1
    except OSError as error:
        say("refused", error.errno, "after", count)
    say("end")
    wait()
elif what == "stdout":
    with open("/dev/stdout", "w") as file:
        print("by name", file=file)
    say("up")
    wait()
elif what == "spam":
    for number in range(400_000):
        print("line", number, "of much too many", flush=False)
    while True:  # a line that is written at the very moment of a rotation may be lost
        say("spammed")
        time.sleep(0.05)
"""


@pytest.fixture(params=["process", "sandbox"])
def ground(request):
    if why_no_sandboxes() and request.param == "sandbox":
        pytest.skip(why_no_sandboxes())
    with process_ground() if request.param == "process" else sandbox_ground() as made:
        yield made


@asynccontextmanager
async def control_plane(ground):
    runtime = ground.sandboxes() if ground.fabric else ground.processes()
    runtime.told = asyncio.Event()
    await runtime.prepare(runtime.told.set)
    try:
        yield runtime
    finally:
        await runtime.close()


async def until(condition, what):
    deadline = time.monotonic() + 60
    while not (found := await condition()):
        assert time.monotonic() < deadline, f"waited for {what}"
        await asyncio.sleep(0.01)
    return found


async def text_in_log(runtime, name, text):
    async def there():
        path = runtime.log(name)
        return path.exists() and text in path.read_text(errors="replace")

    await until(there, f"{text!r} in the log of {name}")


async def ended(runtime, name):
    async def over():
        seen = (await runtime.observe())[name]
        return seen if seen.phase is Phase.EXITED else None

    return await until(over, f"the end of {name}")


async def run(ground, runtime, *arguments, say="up", **more):
    artifact = ground.artifact(PROGRAM)
    instance = ground.instance(artifact, *arguments, **more)
    await runtime.create(instance, 1)
    await runtime.start(instance, artifact, 1)
    if say:
        await text_in_log(runtime, instance.name, say)
    return instance


def alive(ground):
    return [pid for pid, marker in proc.marked(proc.INSTANCE).items() if marker.startswith(f"{ground.system}/")]


def needs(controller):
    if controller in cgroups.host_tree().missing():
        pytest.skip(f"no control group with {controller} can be written here")


# --- what it is given -------------------------------------------------------------------------------------------


async def test_the_environment_is_what_was_given_and_nothing_of_ours(ground, monkeypatch):
    monkeypatch.setenv("OUR_SECRET", "not for services")
    async with control_plane(ground) as runtime:
        env = (("INSTANCE_SAYS", "overridden"), ("WHERE", "{app}/data"), ("PATH_OF_OURS", "1"))
        instance = await run(ground, runtime, "environment", say="end", env=env)
        found = dict(line.split("=", 1) for line in runtime.log(instance.name).read_text().splitlines() if "=" in line)
        assert "OUR_SECRET" not in found
        assert found["INSTANCE_SAYS"] == "hello"
        assert found["LANG"] == "C.UTF-8"
        assert found["WHERE"].endswith("/data")
        assert "{app}" not in found["WHERE"]
        assert found["HOME"] == found["TMPDIR"] != os.environ.get("HOME")
        assert found["ATOLL_INSTANCE"] == f"{ground.system}/{instance.name}"
        given = {"ATOLL_INSTANCE", "HOME", "INSTANCE_SAYS", "LANG", "PATH", "PATH_OF_OURS", "PWD", "TMPDIR", "WHERE"}
        assert set(found) - {"LC_CTYPE", "OLDPWD", "SHLVL", "_"} <= given


async def test_it_runs_in_its_artifact(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, argv=("python3", "{app}/main.py", "serve"))
        await runtime.create(instance, 1)
        await runtime.start(instance, artifact, 1)
        where = "/app" if ground.fabric else artifact.path
        await text_in_log(runtime, instance.name, f"up {where}\n")


async def test_it_can_write_to_dev_stdout_by_name(ground):
    async with control_plane(ground) as runtime:
        await run(ground, runtime, "stdout", say="by name")


# --- how it ends ------------------------------------------------------------------------------------------------


async def test_its_exit_code_and_last_lines_are_told(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "exit", "7", say="about to exit")
        await asyncio.wait_for(runtime.told.wait(), 10)
        seen = (await runtime.observe())[instance.name]
        assert (seen.phase, seen.exit.code, seen.exit.signal) == (Phase.EXITED, 7, None)
        assert seen.exit.log[-1] == "about to exit"


async def test_a_program_that_is_not_there_ends_with_a_word_about_it(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, argv=("no-such-program",))
        await runtime.create(instance, 1)
        with suppress(AtollError):
            await runtime.start(instance, artifact, 1)
            assert (await ended(runtime, instance.name)).exit.code == 127
            assert "no-such-program" in runtime.log(instance.name).read_text()


async def test_sigterm_reaches_the_program_and_not_its_wrapper_only(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, argv=("/bin/sh", "-c", "python3 main.py serve; echo never"))
        await runtime.create(instance, 1)
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "up")
        await runtime.stop(instance.name, 10.0, 1)
        await ended(runtime, instance.name)
        assert "told to end" in runtime.log(instance.name).read_text()


async def test_what_a_wrapper_leaves_may_finish_within_the_grace(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, argv=("/bin/sh", "-c", "python3 main.py slow; true"))
        await runtime.create(instance, 1)
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "up")
        await runtime.stop(instance.name, 10.0, 1)
        await ended(runtime, instance.name)
        assert "finished" in runtime.log(instance.name).read_text()


async def test_children_that_left_the_group_end_with_it(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "family")

        async def complete():
            return len(alive(ground)) >= 4

        await until(complete, "the family to be complete")
        await runtime.stop(instance.name, 0.2, 1)
        await ended(runtime, instance.name)
        assert alive(ground) == []


async def test_when_the_program_ends_what_it_left_ends_at_once(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "leaver")
        assert (await ended(runtime, instance.name)).exit.code == 7
        assert alive(ground) == []


async def test_a_stopped_process_can_be_ended(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        os.kill((await runtime.observe())[instance.name].pid, signal.SIGSTOP)
        await runtime.stop(instance.name, 10.0, 1)
        seen = await ended(runtime, instance.name)
        assert seen.exit.code == 0


async def test_a_program_killed_from_outside_is_seen_at_once(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        os.kill((await runtime.observe())[instance.name].pid, signal.SIGKILL)
        await asyncio.wait_for(runtime.told.wait(), 10)
        assert (await runtime.observe())[instance.name].exit.signal == signal.SIGKILL


# --- limits -----------------------------------------------------------------------------------------------------


async def test_out_of_memory_is_called_by_its_name(ground):
    needs("memory")
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "hog", resources=Resources(memory=64 << 20))
        seen = await ended(runtime, instance.name)
        assert seen.exit.oom, seen


async def test_a_child_that_is_out_of_memory_is_told_of_or_takes_the_instance_with_it(ground, monkeypatch):
    needs("memory")
    monkeypatch.setattr(supervisor, "BETWEEN_CHECKS", 0.1)
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "parent", resources=Resources(memory=64 << 20))

        async def over() -> bool:
            seen = (await runtime.observe())[instance.name]
            return bool(seen.killed) or seen.phase is Phase.EXITED

        await until(over, "the child is killed")
        seen = (await runtime.observe())[instance.name]
        if cgroups.host_tree().version == 1:
            assert (seen.phase, seen.killed) == (Phase.RUNNING, 1)
        else:
            seen = await ended(runtime, instance.name)
            assert (seen.exit.oom, seen.killed) == (True, 0)


async def test_a_fork_bomb_stops_at_its_limit(ground):
    needs("pids")
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "bomb", say="end", resources=Resources(pids=30))
        assert f"refused {errno.EAGAIN}" in runtime.log(instance.name).read_text()
        assert len(alive(ground)) <= 30
        await runtime.stop(instance.name, 0.1, 1)
        await ended(runtime, instance.name)
        assert alive(ground) == []


async def test_a_limit_changed_by_somebody_is_noticed(ground, monkeypatch):
    needs("pids")
    monkeypatch.setattr("atoll.drivers.host.supervisor.BETWEEN_CHECKS", 0.0)
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve", resources=Resources(cpu=500, memory=64 << 20, pids=30))
        assert (await runtime.observe())[instance.name].altered == ""
        group = cgroups.group(cgroups.host_tree(), ground.system, instance.name)
        (group.directories["pids"] / "pids.max").write_text("400")
        assert "400" in (await runtime.observe())[instance.name].altered


async def test_a_process_stopped_by_somebody_is_noticed(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        os.kill((await runtime.observe())[instance.name].pid, signal.SIGSTOP)

        async def noticed():
            return "SIGSTOP" in (await runtime.observe())[instance.name].altered

        await until(noticed, "the stopped process to be noticed")


# --- logs -------------------------------------------------------------------------------------------------------


async def test_a_log_over_its_size_is_rotated_while_it_is_written(ground, monkeypatch):
    monkeypatch.setattr("atoll.drivers.host.logs.is_full", lambda path: path.exists() and path.stat().st_size > 1 << 20)
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "spam", say="")

        async def spammed():
            await runtime.observe()
            return "spammed" in "\n".join(logs.last_lines(runtime.log(instance.name))) or any(
                "spammed" in path.read_text() for path in ground.log_dir.glob("*.log.*")
            )

        await until(spammed, "the spam to end")
        await runtime.observe()
        assert sorted(path.name for path in ground.log_dir.iterdir()) == [
            f"{instance.name}.log{end}" for end in ("", ".1", ".2")
        ]


async def test_the_log_of_a_quiet_one_outlives_the_crashes_of_others(ground):
    async with control_plane(ground) as runtime:
        quiet = await run(ground, runtime, "serve")
        for number in range(100, 100 + 2 * logs.ENDED):  # all of them newer
            (ground.log_dir / f"orders-r1-{number}.log").write_text("crashed")
        artifact = ground.artifact(PROGRAM)
        crashed = ground.instance(artifact, "exit", "1", number=2)
        await runtime.create(crashed, 1)
        await runtime.start(crashed, artifact, 1)
        await ended(runtime, crashed.name)
        await runtime.remove(crashed.name, 1)
        assert len(list(ground.log_dir.glob("*.log"))) == logs.ENDED + 1
        await runtime.stop(quiet.name, 10.0, 1)
        assert (await ended(runtime, quiet.name)).exit.log[-1] == "told to end"


async def test_without_a_place_for_the_log_it_says_so_and_can_be_tried_again(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
        shutil.rmtree(ground.log_dir)
        ground.log_dir.write_text("a file in the way")
        with pytest.raises(Unavailable, match="log of orders-r1-1"):
            await runtime.start(instance, artifact, 1)
        ground.log_dir.unlink()
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "up")


async def test_without_a_place_for_records_it_says_so(ground):
    async with control_plane(ground) as runtime:
        shutil.rmtree(ground.run_dir / "instances")
        (ground.run_dir / "instances").write_text("a file in the way")
        with pytest.raises(Unavailable, match="record of orders-r1-1"):
            await runtime.create(ground.instance(ground.artifact(PROGRAM), "serve"), 1)
        (ground.run_dir / "instances").unlink()


def a_disk_that_is_full(monkeypatch, *, of):
    """From the record on that tells *of* something, none can be written; as long as the patch lasts."""
    full = []

    def write(path, content):
        if path.suffix == ".json" and (full or of in content):
            full.append(path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomically(path, content)

    monkeypatch.setattr("atoll.drivers.host.records.write_atomically", write)
    return full


async def test_one_whose_start_could_not_be_recorded_is_known_and_can_be_ended_and_removed(ground, monkeypatch):
    async with control_plane(ground) as runtime:
        full = a_disk_that_is_full(monkeypatch, of=b'"main":{')
        with suppress(Unavailable):
            await run(ground, runtime, "serve")
        assert full
        name = "orders-r1-1"
        seen = (await runtime.observe())[name]
        assert (seen.phase, seen.pid in alive(ground)) == (Phase.RUNNING, True)
        with pytest.raises(Conflict, match="runs"):
            await runtime.remove(name, 1)
        await runtime.stop(name, 10.0, 1)
        assert (await ended(runtime, name)).exit.code == 0
        await runtime.remove(name, 1)
        assert await runtime.observe() == {}
        assert alive(ground) == []


async def test_one_whose_start_could_not_be_recorded_is_found_by_the_next_control_plane(ground, monkeypatch):
    with monkeypatch.context() as patch:
        async with control_plane(ground) as runtime:
            a_disk_that_is_full(patch, of=b'"main":{')
            with suppress(Unavailable):
                await run(ground, runtime, "serve")
            pid = (await runtime.observe())["orders-r1-1"].pid
            assert pid in alive(ground)
            async with control_plane(ground) as still_full:
                assert (await still_full.observe())["orders-r1-1"].pid == pid
    async with control_plane(ground) as runtime:
        assert (await runtime.observe())["orders-r1-1"].pid == pid
        await runtime.stop("orders-r1-1", 10.0, 1)
        await ended(runtime, "orders-r1-1")


async def test_a_start_that_breaks_off_leaves_nothing_running_and_can_be_tried_again(ground, monkeypatch):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
        launch = runtime._place.launch

        def break_off(what):
            launch(what)
            raise RuntimeError("nobody foresaw this")

        with monkeypatch.context() as patch:
            patch.setattr(runtime._place, "launch", break_off)
            with pytest.raises(RuntimeError):
                await runtime.start(instance, artifact, 1)

        async def gone():
            return not alive(ground)

        await until(gone, "what was started to end")
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "up")


async def test_one_that_is_being_started_cannot_be_removed(ground, monkeypatch):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
        launch, begun, go_on = runtime._place.launch, threading.Event(), threading.Event()

        def slow(what):
            begun.set()
            assert go_on.wait(60)
            return launch(what)

        monkeypatch.setattr(runtime._place, "launch", slow)
        async with asyncio.TaskGroup() as group:
            group.create_task(runtime.start(instance, artifact, 1))
            try:
                assert await asyncio.to_thread(begun.wait, 60)
                with pytest.raises(Conflict, match="runs"):
                    await runtime.remove(instance.name, 1)
            finally:
                go_on.set()
        await text_in_log(runtime, instance.name, "up")
        assert (await runtime.observe())[instance.name].phase is Phase.RUNNING


async def test_an_artifact_that_is_gone_is_named(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
        shutil.rmtree(artifact.path)
        with pytest.raises(AtollError, match=artifact.path):
            await runtime.start(instance, artifact, 1)
        assert alive(ground) == []


# --- a control plane that was killed ------------------------------------------------------------------------------


def rewrite(ground, name, **changes):
    """The record as it would be had the control plane been killed before its next step."""
    path = ground.run_dir / "instances" / f"{name}.json"
    record = msgspec.json.decode(path.read_bytes(), type=Record)
    path.write_bytes(msgspec.json.encode(replace(record, **changes)))


async def test_killed_after_the_start_before_it_was_recorded(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        before = (await runtime.observe())[instance.name]
    rewrite(ground, instance.name, main=None, keeper=None, watcher=None)
    async with control_plane(ground) as runtime:
        seen = (await runtime.observe())[instance.name]
        assert (seen.phase, seen.pid) == (Phase.RUNNING, before.pid)
        await runtime.stop(instance.name, 10.0, 1)
        assert (await ended(runtime, instance.name)).exit.code in {0, None}


async def test_killed_before_the_start(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
    rewrite(ground, instance.name, launching=time.time())
    async with control_plane(ground) as runtime:
        assert (await runtime.observe())[instance.name].phase is Phase.CREATED
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "up")


async def test_killed_while_the_place_was_made(ground):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
    rewrite(ground, instance.name, made=False)
    async with control_plane(ground) as runtime:
        assert await runtime.observe() == {}
        await runtime.create(instance, 1)
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "up")


@pytest.mark.parametrize("damage", ["missing", "empty", "nonsense"])
async def test_what_runs_without_a_record_is_ended(ground, damage):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "family")
    record = ground.run_dir / "instances" / f"{instance.name}.json"
    if damage == "missing":
        record.unlink()
    else:
        record.write_text("" if damage == "empty" else '{"name": 3')
    async with control_plane(ground) as runtime:
        assert await runtime.observe() == {}

        async def gone():
            return not alive(ground)

        await until(gone, "strays to end")
        artifact = ground.artifact(PROGRAM)
        again = ground.instance(artifact, "serve")
        await runtime.create(again, 1)
        await runtime.start(again, artifact, 1)
        await text_in_log(runtime, again.name, "up")


def stuck(ground, name):
    """What keeps a control group from being removed, as a process that hangs in the kernel does; returns its end."""
    group = cgroups.create(cgroups.host_tree(), ground.system, name, Resources())
    inside = [path / "inside" for path in set(group.directories.values())]
    for path in inside:
        path.mkdir()
    return lambda: [path.rmdir() for path in inside]


async def test_a_stray_that_cannot_be_removed_keeps_nobody_from_starting_and_is_tried_again(ground, monkeypatch):
    needs("pids")
    monkeypatch.setattr(supervisor, "BUSY", 0.1)
    monkeypatch.setattr(supervisor, "BETWEEN_TRIES", 0.01, raising=False)
    release, number = stuck(ground, "orders-r1-9"), len(ground.processes().notes())
    try:
        async with control_plane(ground) as runtime:
            await run(ground, runtime, "serve")
            assert any("orders-r1-9" in note and "busy" in note for note in runtime.notes())
            assert set(await runtime.observe()) == {"orders-r1-1"}
            release()

            async def gone():
                return "orders-r1-9" not in cgroups.names(cgroups.host_tree(), ground.system)

            await until(gone, "the stray's group to be removed")

            async def forgotten():
                return not any("orders-r1-9" in note for note in runtime.notes())

            await until(forgotten, "its note to go")
            assert len(runtime.notes()) <= number
            assert (await runtime.observe())["orders-r1-1"].phase is Phase.RUNNING
    finally:
        with suppress(OSError):
            release()


async def test_one_half_made_that_cannot_be_removed_keeps_nobody_from_starting_and_is_not_lost(ground, monkeypatch):
    needs("pids")
    monkeypatch.setattr(supervisor, "BUSY", 0.1)
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
    rewrite(ground, instance.name, made=False)
    release = stuck(ground, instance.name)
    record = ground.run_dir / "instances" / f"{instance.name}.json"
    try:
        async with control_plane(ground) as runtime:
            assert any(instance.name in note for note in runtime.notes())
            assert await runtime.observe() == {}
        release()
        monkeypatch.setattr(supervisor, "BETWEEN_TRIES", 0.01, raising=False)
        release = stuck(ground, instance.name)
        async with control_plane(ground) as runtime:
            assert record.exists()
            release()

            async def gone():
                return not record.exists() and not any(instance.name in note for note in runtime.notes())

            await until(gone, "what was half made to be removed")
            await runtime.create(instance, 1)
            await runtime.start(instance, artifact, 1)
            await text_in_log(runtime, instance.name, "up")
    finally:
        with suppress(OSError):
            release()


async def test_one_that_takes_the_name_of_what_resists_is_an_instance_like_any_other(ground, monkeypatch):
    needs("pids")
    monkeypatch.setattr(supervisor, "BUSY", 0.1)
    monkeypatch.setattr(supervisor, "BETWEEN_TRIES", 0.01, raising=False)
    release = stuck(ground, "orders-r1-1")
    try:
        async with control_plane(ground) as runtime:
            instance = await run(ground, runtime, "serve")

            async def known():
                return not any(instance.name in note for note in runtime.notes())

            await until(known, "it to be taken for an instance")
            assert (await runtime.observe())[instance.name].phase is Phase.RUNNING
    finally:
        release()


async def test_a_place_that_resists_keeps_nobody_from_starting(ground, monkeypatch):
    if not ground.fabric:
        pytest.skip("a plain process has no namespace")
    monkeypatch.setattr(supervisor, "BETWEEN_TRIES", 0.01, raising=False)
    odd = ground.run_dir / "netns" / "orders-r1-9"
    (odd / "in the way").mkdir(parents=True)
    (ground.run_dir / "netns" / "orders-r1-8").touch()
    try:
        async with control_plane(ground) as runtime:
            assert any("orders-r1-9" in note for note in runtime.notes())
            assert not (ground.run_dir / "netns" / "orders-r1-8").exists()
            shutil.rmtree(odd)

            async def forgotten():
                return not any("orders-r1-9" in note for note in runtime.notes())

            await until(forgotten, "its note to go")
    finally:
        shutil.rmtree(odd, ignore_errors=True)


async def test_the_link_of_a_stray_is_free_at_once(ground):
    if not ground.fabric:
        pytest.skip("a plain process has no link")
    async with control_plane(ground) as runtime:
        instance = ground.instance(ground.artifact(PROGRAM), "serve")
        await runtime.create(instance, 1)
    (ground.run_dir / "instances" / f"{instance.name}.json").unlink()
    held = os.open(instance.outlets[0].netns, os.O_RDONLY)  # so that the kernel does not take the namespace away
    try:
        async with control_plane(ground) as runtime:
            await runtime.create(instance, 1)
            assert (await runtime.observe())[instance.name].altered == ""
    finally:
        os.close(held)


async def test_a_place_that_could_not_be_made_nor_taken_back_says_why_it_could_not_be_made(ground, monkeypatch):
    needs("pids")
    monkeypatch.setattr(supervisor, "BUSY", 0.1)
    monkeypatch.setattr(supervisor, "BETWEEN_TRIES", 0.01, raising=False)
    async with control_plane(ground) as runtime:
        instance = ground.instance(ground.artifact(PROGRAM), "serve")
        release = stuck(ground, instance.name)

        def refuse(_instance):
            raise Failed("there is no room for it")

        try:
            with monkeypatch.context() as patch:
                patch.setattr(runtime._place, "make", refuse)
                with pytest.raises(Failed, match="no room"):
                    await runtime.create(instance, 1)
        finally:
            release()

        async def gone():
            return instance.name not in cgroups.names(cgroups.host_tree(), ground.system)

        await until(gone, "what was made of it to be removed")
        assert await runtime.observe() == {}


async def test_an_end_that_nobody_watched_is_found(ground):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        pid = (await runtime.observe())[instance.name].pid
    os.kill(pid, signal.SIGTERM)

    async def over():
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222 - does not wait
        return proc.start_time(pid) is None

    await until(over, "its end")
    async with control_plane(ground) as runtime:
        seen = await ended(runtime, instance.name)
        assert seen.exit.code in ({0} if ground.fabric else {0, None})


async def test_other_systems_are_left_alone(ground):
    with process_ground() as other:
        async with control_plane(ground) as runtime, control_plane(other) as neighbour:
            theirs = await run(other, neighbour, "serve", service="payments")
            await run(ground, runtime, "serve")
            async with control_plane(ground):
                assert (await neighbour.observe())[theirs.name].phase is Phase.RUNNING


# --- sandboxes --------------------------------------------------------------------------------------------------


async def test_a_place_that_was_taken_away_is_noticed(ground, monkeypatch):
    if not ground.fabric:
        pytest.skip("a plain process has no place of its own")
    monkeypatch.setattr("atoll.drivers.host.supervisor.BETWEEN_CHECKS", 0.0)
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        assert (await runtime.observe())[instance.name].altered == ""
        tool(["nsenter", f"--net={ground.fabric}", "ip", "link", "del", "v1"], what="cut")
        assert "link" in (await runtime.observe())[instance.name].altered
        fabric.discard(instance.outlets[0].netns)
        assert "unmounted" in (await runtime.observe())[instance.name].altered


async def test_bubblewrap_killed_by_somebody_does_not_end_the_service(ground):
    if not ground.fabric:
        pytest.skip("a plain process has no bubblewrap")
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        record = msgspec.json.decode((ground.run_dir / f"instances/{instance.name}.json").read_bytes(), type=Record)
        os.kill(record.watcher.pid, signal.SIGKILL)
        assert (await runtime.observe())[instance.name].phase is Phase.RUNNING
        await runtime.stop(instance.name, 10.0, 1)
        await ended(runtime, instance.name)
        assert alive(ground) == []


async def test_a_sandbox_without_its_namespace_says_why_it_cannot_start(ground):
    if not ground.fabric:
        pytest.skip("a plain process has no namespace")
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        instance = ground.instance(artifact, "serve")
        await runtime.create(instance, 1)
        fabric.discard(instance.outlets[0].netns)
        with pytest.raises(Failed, match="netns"):
            await runtime.start(instance, artifact, 1)
        assert (await runtime.observe())[instance.name].phase is Phase.CREATED


# --- hosts that offer less ------------------------------------------------------------------------------------------


@pytest.fixture
def without_groups(monkeypatch):
    monkeypatch.setattr("atoll.drivers.host.cgroups.host_tree", lambda: cgroups.Tree(2, {}))


async def test_without_control_groups_it_says_so(ground, without_groups):
    async with control_plane(ground) as runtime:
        assert any("no control group for cpu, memory, pids" in note for note in runtime.notes())


async def test_without_control_groups_memory_is_bounded_per_process(ground, without_groups):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "hog", resources=Resources(memory=64 << 20))
        assert (await ended(runtime, instance.name)).exit.code == 1
        assert "MemoryError" in runtime.log(instance.name).read_text()


async def test_without_control_groups_use_is_counted(ground, without_groups):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "family")
        usage = (await runtime.usage())[instance.name]
        assert usage.memory > 1 << 20
        assert usage.pids >= 3


async def test_without_control_groups_children_end_too(ground, without_groups):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        # One child has left the group but carries the marker, one has lost the marker but is in the session.
        lost = "(trap '' TERM; exec env -i /bin/sleep 601) &"
        argv = ("/bin/sh", "-c", f"{lost} exec python3 main.py family")
        instance = ground.instance(artifact, argv=argv)
        await runtime.create(instance, 1)
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "up")
        pid = (await runtime.observe())[instance.name].pid
        assert len(proc.session(pid)) >= 2 or ground.fabric
        await runtime.stop(instance.name, 0.2, 1)
        await ended(runtime, instance.name)
        assert alive(ground) == []
        assert proc.session(pid) == ()


async def test_records_from_before_a_reboot_mean_nothing(ground, monkeypatch):
    async with control_plane(ground) as runtime:
        instance = await run(ground, runtime, "serve")
        await runtime.stop(instance.name, 10.0, 1)
        await ended(runtime, instance.name)
    monkeypatch.setattr("atoll.drivers.host.proc.boot", lambda: "another")
    async with control_plane(ground) as runtime:
        assert await runtime.observe() == {}


async def test_looking_often_at_one_that_is_ending_does_not_multiply_the_looks(ground, monkeypatch):
    async with control_plane(ground) as runtime:
        artifact = ground.artifact(PROGRAM)
        lasting = "import signal, time; signal.signal(15, signal.SIG_IGN); print('lasts', flush=True); time.sleep(600)"
        instance = ground.instance(artifact, argv=("/bin/sh", "-c", f'python3 -c "{lasting}"; true'))
        await runtime.create(instance, 1)
        await runtime.start(instance, artifact, 1)
        await text_in_log(runtime, instance.name, "lasts")
        await runtime.stop(instance.name, 60.0, 1)

        async def alone():  # the shell is gone, what it started ignores the signal
            return proc.start_time((await runtime.observe())[instance.name].pid) is None

        await until(alone, "the shell to end")
        planned = []
        monkeypatch.setattr(asyncio.get_running_loop(), "call_later", lambda *call: planned.append(call))
        for _ in range(100):
            runtime._advance(instance.name)
        assert len(planned) <= 1
        monkeypatch.undo()
        runtime._ending.clear()  # what was planned was never carried out
        await runtime.stop(instance.name, 0.0, 1)
        await ended(runtime, instance.name)
