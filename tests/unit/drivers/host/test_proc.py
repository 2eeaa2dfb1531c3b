from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atoll.drivers.host import proc

MARK = f"MARK_OF_TEST_{os.getpid()}"
"""One of our own: what is marked is looked for on the whole machine, and other tests run there too."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")


@pytest.fixture
def child():
    process = subprocess.Popen(["sleep", "600"], env={MARK: "a=b/c", "PATH": os.environ["PATH"]})
    deadline = time.monotonic() + 10
    while proc.marker(process.pid, MARK) is None:  # not executed yet
        assert time.monotonic() < deadline
    yield process
    process.kill()
    process.wait()


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


def test_a_process_is_its_number_and_its_start(child):
    started = proc.start_time(child.pid)
    assert proc.alive(child.pid, started)
    assert not proc.alive(child.pid, started + 1)
    assert not proc.alive(0, 0)


def test_a_zombie_is_not_alive(child):
    started = proc.start_time(child.pid)
    child.kill()
    until(lambda: proc.start_time(child.pid) is None)
    assert not proc.alive(child.pid, started)
    assert child.pid not in proc.marked(MARK)


def test_a_stopped_one_is_told_from_a_sleeping_one(child):
    started = proc.start_time(child.pid)
    assert proc.state(child.pid, started) not in proc.STOPPED
    os.kill(child.pid, signal.SIGSTOP)
    until(lambda: proc.state(child.pid, started) in proc.STOPPED)
    assert proc.state(child.pid, started + 1) == ""


def test_uptime_is_the_clock_that_processes_start_by(child):
    ticks = os.sysconf("SC_CLK_TCK")
    assert proc.start_time(child.pid) / ticks <= proc.uptime() < proc.start_time(child.pid) / ticks + 60


def test_markers_are_found(child):
    assert proc.marker(child.pid, MARK) == "a=b/c"
    assert proc.marker(child.pid, "MARK_OF") is None
    assert proc.marked(MARK) == {child.pid: "a=b/c"}


def test_children_are_found(child):
    assert child.pid in proc.children(os.getpid())
    assert proc.children(child.pid) == ()


def test_a_name_may_hold_anything(tmp_path):
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([str(odd), "600"])
    try:
        until(lambda: "a) R" in open(f"/proc/{process.pid}/comm").read())  # noqa: PTH123, SIM115 - short
        assert proc.start_time(process.pid) >= proc.start_time(os.getpid())
    finally:
        process.kill()
        process.wait()


def test_consumption_adds_up(child):
    until(lambda: proc.consumption([child.pid]).memory)  # Linux counts pages by the processor, and sums up later
    one, both = proc.consumption([child.pid]), proc.consumption([child.pid, os.getpid()])
    assert both.memory > one.memory > 0
    assert both.threads > one.threads == 1
    assert both.cpu > 0


def test_listening_sockets_are_seen_with_their_addresses(child):
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        ports = four.getsockname()[1], six.getsockname()[1]
        assert set(ports) <= set(proc.listeners())
        assert {("127.0.0.1", ports[0]), ("::1", ports[1])} <= set(proc.listening(os.getpid()))
        assert ("127.0.0.1", ports[0]) in proc.listening(os.getpid(), among=[os.getpid()])
        assert proc.listening(os.getpid(), among=[child.pid]) == ()
    assert not set(ports) & set(proc.listeners())


@pytest.mark.parametrize(("at", "asked", "found"), [
    ("127.0.0.1", "127.0.0.1", True),
    ("127.0.0.1", "0.0.0.0", True),
    ("0.0.0.0", "127.0.0.1", True),
    ("127.0.0.1", "127.0.0.2", False),
])  # fmt: skip
def test_who_listens_where_we_want_to_is_found(at, asked, found):
    with socket.create_server((at, 0)) as server:
        port = server.getsockname()[1]
        name = Path("/proc/self/comm").read_text().strip()
        assert proc.listener(asked, port) == ((os.getpid(), name) if found else None)
    assert proc.listener(asked, port) is None


def test_namespaces_have_numbers():
    assert proc.namespace(os.getpid(), "net") == os.stat("/proc/self/ns/net").st_ino  # noqa: PTH116 - short
    assert proc.namespace(2**22 + 1, "net") is None


def test_nobody_is_nobody():
    assert proc.start_time(2**22 + 1) is None
    assert proc.children(2**22 + 1) == ()
    assert proc.state(2**22 + 1, 0) == ""
