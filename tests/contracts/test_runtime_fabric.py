"""The fabric and its anchor, made for real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from atoll.drivers.host import fabric, proc
from atoll.drivers.host.commands import run
from atoll.errors import AtollError
from atoll.testing.grounds import why_no_sandboxes

pytestmark = [pytest.mark.linux, pytest.mark.skipif(bool(why_no_sandboxes()), reason=why_no_sandboxes())]


@pytest.fixture(params=[False, True], ids=["root", "rootless"])
def rootless(request):
    return request.param


@pytest.fixture
def run_dir(tmp_path):
    yield tmp_path
    fabric.release(tmp_path)


def inside(anchor, rootless, *command):
    return run([*fabric.enter(anchor, rootless=rootless), *command], what="inside")


def kill(pid):
    started = proc.start_time(pid)
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while proc.alive(pid, started):
        assert time.monotonic() < deadline


def test_it_is_found_again(run_dir, rootless):
    made = fabric.ensure_anchor(run_dir, rootless=rootless)
    assert fabric.ensure_anchor(run_dir, rootless=rootless) == made
    assert proc.namespace(made.pid, "net") != proc.namespace(os.getpid(), "net")


@pytest.mark.parametrize("damage", ["missing", "nonsense", "another"])
def test_it_is_found_again_without_its_record(run_dir, damage):
    made = fabric.ensure_anchor(run_dir, rootless=False)
    record = run_dir / "anchor.json"
    if damage == "missing":
        record.unlink()
    else:
        record.write_text("{" if damage == "nonsense" else f'{{"pid": {os.getpid()}, "start_time": 1, "mounts": 1}}')
    assert fabric.ensure_anchor(run_dir, rootless=False) == made


def test_nothing_of_it_is_seen_on_the_host(run_dir, rootless):
    anchor = fabric.ensure_anchor(run_dir, rootless=rootless)
    assert str(run_dir) not in Path("/proc/self/mountinfo").read_text()
    assert str(run_dir) in Path(f"/proc/{anchor.pid}/mountinfo").read_text()


def test_who_enters_keeps_the_hosts_network(run_dir, rootless):
    anchor = fabric.ensure_anchor(run_dir, rootless=rootless)
    of_host = str(Path("/proc/self/ns/net").readlink())
    assert inside(anchor, rootless, "readlink", "/proc/self/ns/net").strip() == of_host
    assert inside(anchor, rootless, "id", "-u").strip() == "0"


def test_the_fabric_forwards_nothing_and_leads_nowhere(run_dir, rootless):
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    anchor = fabric.ensure_anchor(run_dir, rootless=rootless)
    into = ["nsenter", f"--net={anchor.netns}", "--"]
    assert inside(anchor, rootless, *into, "cat", str(forwarding)).strip() == "0"
    assert inside(anchor, rootless, *into, "ip", "route").strip() == ""
    assert "state UNKNOWN" in inside(anchor, rootless, *into, "ip", "link", "show", "lo")


def test_a_link_joins_an_instance_to_it(run_dir, rootless):
    anchor = fabric.ensure_anchor(run_dir, rootless=rootless)
    program = (
        "import sys; from atoll.drivers.host import fabric\nfabric.link('orders-r1-1', 3, sys.argv[1], sys.argv[2])\n"
    )
    netns = str(run_dir / "netns/orders-r1-1")
    inside(anchor, rootless, sys.executable, "-c", program, netns, anchor.netns)
    there = inside(anchor, rootless, "nsenter", f"--net={netns}", "--", "ip", "-brief", "address")
    here = inside(anchor, rootless, "nsenter", f"--net={anchor.netns}", "--", "ip", "-brief", "address")
    assert "10.201.0.14/30" in there
    for into, name in ((netns, "eth0"), (anchor.netns, "v3")):
        command = ("nsenter", f"--net={into}", "--", "ip", "-details", "link", "show", name)
        assert "addrgenmode none" in inside(anchor, rootless, *command)
    assert "v3" in here
    assert "10.201.0.13/30" in here
    routes = inside(anchor, rootless, "nsenter", f"--net={netns}", "--", "ip", "route")
    assert routes.split(" dev ")[0] == "10.201.0.12/30"
    assert len(routes.splitlines()) == 1


def test_a_killed_anchor_is_replaced_in_the_same_namespaces(run_dir, rootless):
    first = fabric.ensure_anchor(run_dir, rootless=rootless)
    mounts = proc.namespace(first.pid, "mnt")
    network = proc.namespace(first.pid, "net")
    somebody = subprocess.Popen([*fabric.enter(first, rootless=rootless), "sleep", "600"])
    try:
        deadline = time.monotonic() + 10
        while proc.namespace(somebody.pid, "mnt") != mounts:
            assert time.monotonic() < deadline
        kill(first.pid)
        second = fabric.ensure_anchor(run_dir, rootless=rootless)
        assert second.pid != first.pid
        assert proc.namespace(second.pid, "mnt") == mounts
        assert proc.namespace(second.pid, "net") == network
        assert fabric.ensure_anchor(run_dir, rootless=rootless) == second
    finally:
        somebody.kill()
        somebody.wait()


def test_a_killed_anchor_with_nobody_left_is_made_anew(run_dir, rootless):
    first = fabric.ensure_anchor(run_dir, rootless=rootless)
    kill(first.pid)
    second = fabric.ensure_anchor(run_dir, rootless=rootless)
    assert second.pid != first.pid
    assert inside(second, rootless, "nsenter", f"--net={second.netns}", "--", "ip", "route") == ""


def test_release_ends_it(run_dir, rootless):
    made = fabric.ensure_anchor(run_dir, rootless=rootless)
    fabric.release(run_dir)
    deadline = time.monotonic() + 10
    while proc.alive(made.pid, made.start_time):
        assert time.monotonic() < deadline
    fabric.release(run_dir)
    assert not (run_dir / "anchor.json").exists()


def test_where_it_cannot_be_made_it_says_why(run_dir):
    (run_dir / "netns").mkdir()
    (run_dir / "netns/fabric").mkdir()
    with pytest.raises(AtollError, match="fabric"):
        fabric.ensure_anchor(run_dir, rootless=False)


HASTY = """
import sys, threading
from pathlib import Path
from atoll.drivers.host import fabric
from atoll.drivers.host.syscalls import enter_network

def look(netns):
    while not netns.exists() or netns.stat().st_dev == netns.parent.stat().st_dev:
        pass
    enter_network(str(netns))
    here = Path("/proc/thread-self/net")
    if "127.0.0.1" not in (here / "fib_trie").read_text() or "eth0" not in (here / "dev").read_text():
        print(netns.name)

for number in range(1, 6):
    netns = Path(sys.argv[1]) / f"hasty-{number}"
    hasty = threading.Thread(target=look, args=(netns,))
    hasty.start()
    fabric.link(netns.name, number, str(netns), sys.argv[2])
    hasty.join()
    fabric.unlink(number, str(netns), sys.argv[2])
"""


def test_a_namespace_is_there_only_once_a_door_can_be_opened_in_it(run_dir, rootless):
    """In the moment in which its loopback gets its address, Linux refuses to bind to that."""
    anchor = fabric.ensure_anchor(run_dir, rootless=rootless)
    assert inside(anchor, rootless, sys.executable, "-c", HASTY, str(run_dir / "netns"), anchor.netns) == ""
