"""Each promise of the sandbox, and a program inside that tries to break it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import threading
import time
from pathlib import Path

import pytest

from atoll.drivers.host import proc
from atoll.drivers.host.syscalls import enter_network
from atoll.testing.grounds import sandbox_ground, why_no_sandboxes

pytestmark = [pytest.mark.linux, pytest.mark.skipif(bool(why_no_sandboxes()), reason=why_no_sandboxes())]

PROGRAM = (Path(__file__).parent / "sandbox_intruder.py").read_text()
CLOSED = ("/app/main.py", "/app/new", "/new", "/usr/new", "/etc/hosts", "/proc/sysrq-trigger")
CLOSED += ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward")
SECRET = ("/etc/shadow", "/proc/kcore", "/proc/1/environ", "/proc/1/mem", "/dev/mem", "/dev/kmsg")


@pytest.fixture(scope="module")
def ground():
    with sandbox_ground() as made:
        yield made


@pytest.fixture(scope="module")
def artifact(ground):
    return ground.artifact(PROGRAM)


numbers = iter(range(1, 1000))


async def attack(ground, artifact, what, *arguments, service="orders", hosts=(), keep=False):
    """What the program inside says about its attempt."""
    runtime = ground.sandboxes()
    await runtime.prepare(lambda: None)
    instance = ground.instance(artifact, what, *arguments, service=service, number=next(numbers), hosts=hosts)
    await runtime.create(instance, 1)
    await runtime.start(instance, artifact, 1)
    log = runtime.log(instance.name)
    deadline = time.monotonic() + 30
    while not log.read_text().endswith("\n"):
        assert time.monotonic() < deadline
        assert (await runtime.observe())[instance.name].exit is None, log.read_text()
        await asyncio.sleep(0.01)
    if not keep:
        await runtime.stop(instance.name, 0.0, 1)
        while (await runtime.observe())[instance.name].exit is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        await runtime.remove(instance.name, 1)
    await runtime.close()
    return json.loads(log.read_text().splitlines()[0])


async def test_no_user_no_capability_no_new_privilege(ground, artifact):
    status = await attack(ground, artifact, "status")
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert 0 not in {int(uid) for uid in status["Uid"].split() + status["Gid"].split()}
    assert status["Groups"].strip() == ""


async def test_the_keeper_inside_has_no_power_over_the_host(ground, artifact):
    """It is root's process: as the program's parent it may at most change users, and its end is nothing but its own."""
    keeper = await attack(ground, artifact, "keeper")
    setgid, setuid, setpcap = 6, 7, 8
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):  # it executes nothing, so its bounding set means nothing
        assert int(keeper[name], 16) & ~(1 << setgid | 1 << setuid | 1 << setpcap) == 0, name
    assert keeper["NoNewPrivs"] == "1"


async def test_services_are_different_users(ground, artifact):
    one = await attack(ground, artifact, "status")
    other = await attack(ground, artifact, "status", service="payments")
    assert one["Uid"] != other["Uid"]


async def test_root_cannot_be_had_back(ground, artifact):
    found = await attack(ground, artifact, "identity")
    assert found == {"setuid": "EPERM", "setgid": "EPERM", "groups": []}


async def test_setuid_programs_give_nothing(ground, artifact):
    assert "0" not in await attack(ground, artifact, "setuid_program")


async def test_only_its_own_processes_are_seen(ground, artifact):
    assert await attack(ground, artifact, "processes") == [1, 2]


async def test_the_keeper_inside_cannot_be_killed(ground, artifact):
    assert await attack(ground, artifact, "kill", "1") == {"1": "EPERM"}


async def test_nothing_of_the_host_is_seen(ground, artifact):
    other = ground.artifact("pass")
    secret = ground.base / "secret"
    secret.write_text("x")
    paths = [
        str(ground.run_dir),
        str(ground.log_dir),
        str(secret),
        other.path,
        artifact.path,
        "/home",
        "/root/.ssh",
        "/var",
    ]
    paths += ["/sys", "/run", "/boot", "/mnt", "/srv", "/opt", "/etc/shadow", "/etc/ssh", "/var/run/docker.sock"]
    found = await attack(ground, artifact, "files", *paths)
    assert [path for path, seen in found.items() if seen] == []
    listing = await attack(ground, artifact, "listing", "/", "/etc", "/dev")
    allowed = {"app", "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "root", "sbin", "tmp", "usr"}
    allowed |= {Path(mount).parts[1] for mount in artifact.mounts}
    assert set(listing["/"]) <= allowed
    assert not {"shadow", "sudoers", "ssh", "passwd-", "gshadow"} & set(listing["/etc"])
    assert not any(name.startswith(("sd", "vd", "nvme", "mem", "kvm", "fuse", "loop")) for name in listing["/dev"])


async def test_of_a_program_that_is_shown_alone_nothing_beside_it_is_seen(ground, artifact):
    """As a Node.js in somebody's home is: the directories above are made for the sandbox and hold nothing else."""
    program = ground.base / "alice" / "bin" / "node"
    program.parent.mkdir(parents=True)
    for file in (program, program.parent / "other", ground.base / "alice" / ".ssh"):
        file.write_text("x")
    shown = dataclasses.replace(artifact, mounts=(*artifact.mounts, str(program)))
    assert await attack(ground, shown, "reads", str(program)) == {str(program): "allowed"}
    assert await attack(ground, shown, "writes", str(program)) == {str(program): "EROFS"}
    above = [str(program.parent), str(program.parent.parent)]
    assert await attack(ground, shown, "listing", *above) == {above[0]: ["node"], above[1]: ["bin"]}


async def test_nothing_but_its_own_temporary_places_can_be_written(ground, artifact):
    found = await attack(ground, artifact, "writes", *CLOSED)
    assert set(found.values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}, found
    assert await attack(ground, artifact, "tmp") == "allowed allowed"
    assert (Path(artifact.path) / "main.py").read_text() == PROGRAM


async def test_the_temporary_place_is_bounded(ground, artifact):
    assert "No space left" in await attack(ground, artifact, "tmp_size")


async def test_the_log_cannot_fill_the_hosts_disk(ground, artifact, monkeypatch):
    """Also where nobody rotates it: the largest file that a program can make bounds it."""
    monkeypatch.setattr("atoll.drivers.host.logs.is_full", lambda _: False)
    found = await attack(ground, artifact, "log_size")
    assert found == {"fallocate": "ENOTSUP", "truncate": "EFBIG", "write": "EFBIG"}


async def test_the_keepers_program_cannot_be_changed(ground, artifact):
    found = await attack(ground, artifact, "changes", "/proc/1/exe", "/proc/self/exe", "/app/main.py")
    assert "allowed" not in {answer for answers in found.values() for answer in answers.values()}, found


async def test_the_hosts_secrets_cannot_be_read(ground, artifact):
    found = await attack(ground, artifact, "reads", *SECRET)
    assert "allowed" not in found.values(), found


async def test_no_mounts(ground, artifact):
    found = await attack(ground, artifact, "mount")
    assert set(found.values()) == {"EPERM"}, found


async def test_no_namespaces(ground, artifact):
    found = await attack(ground, artifact, "namespaces")
    assert found.pop("clone3") == "ENOSYS"
    assert set(found.values()) == {"EPERM"}, found


async def test_no_way_into_the_kernel_or_other_processes(ground, artifact):
    found = await attack(ground, artifact, "kernel")
    assert set(found.values()) == {"EPERM"}, found


async def test_only_ordinary_sockets(ground, artifact):
    found = await attack(ground, artifact, "families")
    assert found == {
        "1": "allowed", "2": "EPERM", "10": "allowed", "17": "EAFNOSUPPORT", "38": "EAFNOSUPPORT", "40": "EAFNOSUPPORT",
        "44": "EAFNOSUPPORT",
    }  # fmt: skip


async def test_only_unix_sockets_in_pairs(ground, artifact):
    """socketpair(2) makes two sockets of any family before it finds that they have no pairs: loading the family's code
    into the kernel and running it is all that an attack needs.
    """
    found = await attack(ground, artifact, "pairs")
    assert found.pop("1") == "allowed"
    assert set(found.values()) == {"EAFNOSUPPORT"}, found


async def test_no_devices_and_no_terminal(ground, artifact):
    assert await attack(ground, artifact, "devices") == "EPERM"
    assert await attack(ground, artifact, "terminal") in {"ENXIO", "ENODEV"}


async def test_other_instances_and_the_host_cannot_be_reached(ground, artifact):
    victim = next(numbers)
    serving = ground.artifact(
        "import http.server\nprint('up', flush=True)\n"
        "http.server.HTTPServer(('0.0.0.0', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    runtime = ground.sandboxes()
    await runtime.prepare(lambda: None)
    instance = ground.instance(serving, service="payments", number=victim)
    await runtime.create(instance, 1)
    await runtime.start(instance, serving, 1)
    with socket.create_server(("0.0.0.0", 0)) as of_host, fabric_server(ground) as of_fabric:
        host_port, fabric_port = of_host.getsockname()[1], of_fabric.getsockname()[1]
        reached_from_fabric = asyncio.to_thread(in_fabric, ground, connect, instance.address.ip, 8080)
        deadline = time.monotonic() + 20
        while await reached_from_fabric != "allowed":
            assert time.monotonic() < deadline
            reached_from_fabric = asyncio.to_thread(in_fabric, ground, connect, instance.address.ip, 8080)
        targets = [f"{instance.address.ip}:8080", f"127.0.0.1:{host_port}", f"127.0.0.1:{fabric_port}"]
        targets += [f"{own_address()}:{host_port}", "10.201.0.1:80", "169.254.169.254:80", "8.8.8.8:53"]
        found = await attack(ground, artifact, "connects", *targets)
    await runtime.stop(instance.name, 0.0, 1)
    await runtime.close()
    assert set(found.values()) <= {"ECONNREFUSED", "ENETUNREACH"}, found
    assert found[f"{instance.address.ip}:8080"] == "ENETUNREACH"


async def test_no_route_can_be_added(ground, artifact):
    assert await attack(ground, artifact, "route") != 0


async def test_abstract_sockets_of_the_host_are_out_of_reach(ground, artifact):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0atoll-attack-test")
        server.listen()
        assert await attack(ground, artifact, "abstract", "atoll-attack-test") == "ECONNREFUSED"


async def test_service_names_lead_to_the_proxy_and_others_nowhere(ground, artifact):
    found = await attack(
        ground, artifact, "names", "payments", "localhost", "example.com", hosts=("orders", "payments")
    )
    assert found == {"payments": "127.0.0.1", "localhost": "127.0.0.1", "example.com": "unknown"}


async def test_secrets_are_in_no_argument_list(ground, artifact):
    runtime = ground.sandboxes()
    await runtime.prepare(lambda: None)
    instance = ground.instance(artifact, "status", number=next(numbers), env=(("TOKEN", "swordfish"),))
    await runtime.create(instance, 1)
    await runtime.start(instance, artifact, 1)
    mine = [pid for pid, marker in proc.marked(proc.INSTANCE).items() if marker.endswith(instance.name)]
    assert len(mine) >= 3
    for pid in mine:
        assert b"swordfish" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    await runtime.stop(instance.name, 0.0, 1)
    await runtime.close()


def connect(ip, port):
    try:
        with socket.create_connection((ip, port), timeout=1):
            return "allowed"
    except OSError as error:
        return str(error)


def in_fabric(ground, function, *arguments):
    """Call it in a thread of its own that lives in the fabric."""
    result = []

    def inside():
        enter_network(ground.fabric)
        result.append(function(*arguments))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    return result[0]


def fabric_server(ground):
    """Something like the proxies' admin: it listens on the fabric's loopback."""
    return in_fabric(ground, socket.create_server, ("127.0.0.1", 0))


def own_address():
    """An address of this host that is not its loopback, or the loopback where it has no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return one.getsockname()[0]
