"""What the proxies do when something breaks: a bad configuration, a dead control plane, a dead proxy."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from atoll.errors import Unavailable
from atoll.mesh import admin, envoy, ir, liveness
from atoll.mesh.process import _start_time, forget_memory
from atoll.mesh.xds.bootstrap import bootstrap
from atoll.model.system import Call, Gateway, Route


async def test_what_envoy_refuses_is_told_in_its_words_and_harms_nothing_else(world):
    world.service("payments", routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    orders = world.instances("orders")[0]
    good = world.gateway
    world.gateway = Gateway(good.listen, host="203.0.113.1")  # not an address of this host
    world.add("payments")
    await world.mesh.publish(world.blueprint())
    seen = await world.wait_seen(lambda s: s.rejected != "", "the refusal is seen")
    assert "203.0.113.1" in seen.rejected
    assert seen.rejected.startswith("gateway: ")
    await world.wait_seen(lambda s: len(s.accepted) == 3, "the rest is accepted")
    world.gateway = good
    assert (await world.outside("/")).status == 200
    assert (await world.call(orders, "payments")).status == 200
    seen = await world.publish()
    assert seen.rejected == ""


async def test_a_proxy_gets_nothing_of_our_environment(world, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    pid = world.mesh._processes[ir.GATEWAY].pid
    given = Path(f"/proc/{pid}/environ").read_bytes().decode().strip("\0").split("\0")
    assert {entry.partition("=")[0] for entry in given} <= {"PWD", "_", "SHLVL", "OLDPWD"}


async def test_a_proxy_can_be_taken_over_from_by_its_own_user_only(world):
    """At sockets in the run directory: who speaks there gets what it listens on, or tells it to end."""
    await world.publish()
    for name in world.mesh._processes:
        base = (world.root / f"{name}.base-id").read_text()
        abstract = [
            line for line in Path("/proc/net/unix").read_text().splitlines() if "@" in line and f"_{base}" in line
        ]
        assert abstract == []
        found = [*world.root.glob(f"{name}_*_{base}0")]
        assert {one.name.rpartition("_")[0] for one in found} >= {f"{name}_parent", f"{name}_child"}
        assert {one.stat().st_mode & 0o777 for one in found} == {0o600}
        forget_memory(world.root / f"{name}.base-id")
        assert [*world.root.glob(f"{name}_*_{base}?")] == []


async def test_a_proxy_that_dies_comes_back_with_the_last_good_configuration(world):
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    good = world.gateway
    world.gateway = Gateway(good.listen, host="203.0.113.1")
    await world.mesh.publish(world.blueprint())
    await world.wait_seen(lambda s: s.rejected != "", "the refusal is seen")
    old = world.mesh._processes[ir.GATEWAY].pid
    os.kill(old, signal.SIGKILL)
    world.gateway = good

    async def serves() -> bool:
        process = await asyncio.create_subprocess_exec(
            "curl", "-sf", "-o", "/dev/null", f"http://127.0.0.1:{good.listen}/"
        )
        return await process.wait() == 0

    await world.until(serves, "the gateway serves again")
    assert world.mesh._processes[ir.GATEWAY].pid != old
    end = world.mesh.ends()[ir.GATEWAY]  # by what signal, where its new parent was slow or the kernel is new
    assert end.startswith(f"the gateway proxy (process {old}) has ended")
    assert end.endswith("; another one is started")
    assert ir.MESH not in world.mesh.ends()


async def test_traffic_goes_on_without_a_control_plane_and_a_new_one_adopts_the_proxies(world):
    world.service("payments", instances=2, routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    pids = {name: p.pid for name, p in world.mesh._processes.items()}
    async with (
        world.load(world.instances("orders")[0], "payments", connections=4) as inner,
        world.load(None, "any", method="POST", connections=4) as outer,
    ):
        await world.mesh.close()
        await asyncio.sleep(0.3)
        news = asyncio.Event()
        world.mesh = world.new_mesh()
        await world.mesh.prepare(news.set)
        await world.wait_seen(lambda s: s.generation == 0, "the proxies are back, and nothing is pushed")
        sent = count_sent(world.mesh)
        await world.publish()
        await asyncio.sleep(0.2)
    assert {name: p.pid for name, p in world.mesh._processes.items()} == pids
    assert inner["bad"] == outer["bad"] == []
    assert sum(sent.values()) == 0, "a proxy that is up to date is told nothing"
    assert news.is_set()


async def test_a_proxy_that_died_meanwhile_is_replaced_and_leaves_nothing(world):
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    old = world.mesh._processes[ir.GATEWAY]
    old.hot_restart()  # a former epoch that is still draining when the newest dies
    await world.until(lambda: listens(world), "the next epoch listens")
    pids = [record.pid for record in old._read()]
    memory = shared_memory(old)
    await world.mesh.close()
    os.kill(pids[0], signal.SIGKILL)
    world.mesh = world.new_mesh()
    await world.mesh.prepare(lambda: None)
    await world.until(lambda: listens(world), "the new one listens")
    new = world.mesh._processes[ir.GATEWAY]
    assert len(pids) == 2
    assert [record.pid for record in new._read()] == [new.pid]
    assert new.pid not in pids
    assert not memory.exists()
    assert shared_memory(new).exists()


async def listens(world) -> bool:
    await world.publish()
    return bool(await world.reached())


def shared_memory(process) -> Path:
    return Path(f"/dev/shm/envoy_shared_memory_{process._base_path.read_text().strip()}0")


def count_sent(mesh) -> dict[str, int]:
    """How many resources each proxy is sent from now on."""
    sent = dict.fromkeys(ir.PROXIES, 0)
    for proxy in ir.PROXIES:
        for stream in mesh._ads.streams(proxy):
            original = stream._send

            def send(lane, upserts, removals, now, proxy=proxy, original=original):
                sent[proxy] += len(upserts) + len(removals)
                return original(lane, upserts, removals, now)

            stream._send = send
    return sent


async def test_a_killed_proxy_is_replaced_at_once(world):
    world.service("payments", routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    for name, process in world.mesh._processes.items():
        old = process.pid
        os.kill(old, signal.SIGKILL)

        await world.until(partial(replaced, process, old), f"another {name} proxy")
        await world.accepted()
    orders = world.instances("orders")[0]
    await world.until(world.reached, "the new gateway proxy listens")
    await world.until(partial(world.reached, orders), "the new mesh proxy listens")
    assert (await world.outside("/")).status == 200
    assert (await world.call(orders, "payments")).status == 200


async def test_what_a_proxy_has_accepted_ends_with_it(world):
    """As soon as its end is known: whether its stream has ended by then is chance."""
    world.service("payments")
    await world.publish()
    world.mesh._processes[ir.MESH]._died()
    with pytest.raises(Unavailable, match="the mesh proxy does not answer"):
        await world.mesh.observe()
    await world.accepted()  # it lives, and connects again


async def test_a_silent_proxy_is_an_error_and_not_an_empty_answer(world):
    world.service("payments")
    await world.publish()
    process = world.mesh._processes[ir.MESH]
    pid = process.pid
    process.let_go()
    os.kill(pid, signal.SIGKILL)

    async def away() -> bool:
        return await world.seen() is None

    await world.until(away, "the loss is noticed")
    with pytest.raises(Unavailable, match="the mesh proxy does not answer"):
        await world.mesh.observe()


@pytest.mark.parametrize("proxy", ir.PROXIES)
async def test_a_proxy_that_hangs_makes_nobody_wait_and_is_replaced(world, monkeypatch, proxy):
    monkeypatch.setattr(envoy, "PERIOD", 0.5)
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    process = world.mesh._processes[proxy]
    old = process.pid
    os.kill(old, signal.SIGSTOP)
    hangs = re.escape(f"the {proxy} proxy (process {old}) hangs (stopped by SIGSTOP)")

    async def stuck() -> bool:
        return world.mesh._liveness[proxy].stuck(old) != ""

    monkeypatch.setattr(liveness, "LOOKS", 1_000)  # there is time to ask
    await world.until(stuck, "it is noticed")
    for question in (world.mesh.observe, world.mesh.traffic, world.mesh.flag_calls):
        with pytest.raises(Unavailable, match=hangs):
            await question()
    monkeypatch.setattr(liveness, "LOOKS", 3)
    await world.until(partial(replaced, process, old), "another proxy")
    await world.accepted()
    await world.until(world.reached, "it listens")
    assert "it hung (stopped by SIGSTOP) and was killed" in world.mesh.ends()[proxy]
    assert _start_time(old) is None
    assert set(await world.mesh.traffic()) == {"payments"}


async def test_a_proxy_that_is_stopped_for_a_moment_goes_on(world, monkeypatch):
    monkeypatch.setattr(envoy, "PERIOD", 0.1)
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    old = world.mesh._processes[ir.GATEWAY].pid
    watched, found = world.mesh._liveness[ir.GATEWAY], asyncio.Event()
    look = watched.look

    async def once(pid):
        too_often = await look(pid)
        if watched.stuck(pid):
            os.kill(old, signal.SIGCONT)
            found.set()
        return too_often

    monkeypatch.setattr(watched, "look", once)
    os.kill(old, signal.SIGSTOP)
    async with asyncio.timeout(20):
        await found.wait()
    assert (await world.accepted()).rejected == ""
    assert world.mesh._processes[ir.GATEWAY].pid == old
    assert world.mesh.ends() == {}


async def replaced(process, old) -> bool:
    return process.pid not in {old, None}


async def test_a_hot_restart_under_load_loses_nothing(world):
    world.service("payments", instances=2, routes=(Route("/"),))
    world.service("orders", calls=(Call("payments"),))
    await world.publish()
    before = {name: p.pid for name, p in world.mesh._processes.items()}

    async def handed_over() -> bool:
        return all(len(world.mesh._ads.streams(name)) == 2 for name in ir.PROXIES)

    async with (
        world.load(world.instances("orders")[0], "payments", connections=4) as inner,
        world.load(None, "any", method="POST", connections=4) as outer,
    ):
        await asyncio.sleep(0.2)
        await world.mesh.hot_restart()
        await world.until(handed_over, "the new processes have taken over")
        assert (await world.accepted()).rejected == ""
        await asyncio.sleep(1.0)
    after = {name: p.pid for name, p in world.mesh._processes.items()}
    assert not set(before.values()) & set(after.values())
    assert inner["bad"] == outer["bad"] == []
    assert (await world.outside("/")).status == 200


async def test_many_epochs_follow_each_other_though_their_names_repeat_after_three(world):
    await world.publish()
    gateway = world.mesh._processes[ir.GATEWAY]
    for epoch in range(1, 5):

        async def there(epoch=epoch) -> bool:
            try:
                said = json.loads(await admin.ask(world.root / "gateway.admin.sock", "/server_info"))
            except Unavailable:  # neither has the socket, for a moment
                return False
            return (said["command_line_options"]["restart_epoch"], said["state"]) == (epoch, "LIVE")

        gateway.hot_restart()
        await world.until(there, f"epoch {epoch} is there")


async def test_the_failures_of_an_instance_are_its_own_and_outlive_a_hot_restart(world):
    world.service("payments", instances=2, routes=(Route("/"),))
    await world.publish()
    answers = [await world.outside("/status/500") for _ in range(6)]
    assert {answer.status for answer in answers} == {500}
    instances = world.instances("payments")
    given = {i.address.ip: sum(i.name in answer.body for answer in answers) for i in instances}

    async def failures() -> dict[str, int]:
        found = await world.mesh.calls(frozenset({"payments"}))
        return {c.ip: dict(c.failed).get("-", 0) for c in found if (c.proxy, bool(c.cluster)) == (ir.GATEWAY, True)}

    async def seen() -> bool:
        return await failures() == given

    async def answered_by_the_new() -> bool:
        try:
            said = json.loads(await admin.ask(world.root / "gateway.admin.sock", "/server_info"))
        except Unavailable:  # neither has the socket, for a moment
            return False
        return bool(said["command_line_options"]["restart_epoch"] == 1)

    await world.until(seen, "each failure is counted where it was answered")
    await world.mesh.hot_restart()
    await world.until(answered_by_the_new, "the new process tells how it is")
    await world.until(seen, "the new process has taken over what was counted")


@pytest.fixture
def forgetful(monkeypatch) -> None:
    """Proxies that forget after a second or two what nothing is added to."""
    often = {"stats_flush_interval": "1s", "stats_eviction_interval": "1s"}  # the one is a multiple of the other
    monkeypatch.setattr(envoy, "bootstrap", lambda item: bootstrap(item) | often)


async def test_failures_are_not_forgotten_while_they_go_on_and_then_they_are(forgetful, world):
    """Envoy calls unused what nothing was added to since it last looked for what to forget, and keeps its value."""
    world.service("payments", routes=(Route("/"),))
    await world.publish()

    async def failures() -> int:
        return sum(sum(dict(c.failed).values()) for c in await world.mesh.calls(frozenset({"payments"})))

    seen, ends = [0], time.monotonic() + 4
    while time.monotonic() < ends:
        assert (await world.outside("/status/500")).status == 500
        pause = time.monotonic() + 0.6
        while time.monotonic() < pause:
            seen.append(await failures())
    assert seen == sorted(seen)
    assert seen[-1] >= 5

    async def forgotten() -> bool:
        return await failures() == 0

    await world.until(forgotten, "a proxy has forgotten what is long ago")


async def test_a_changed_start_configuration_is_taken_by_hot_restart(world):
    world.service("payments", routes=(Route("/"),))
    await world.publish()
    before = {name: p.pid for name, p in world.mesh._processes.items()}
    await world.mesh.close()
    world.mesh = world.new_mesh()
    process = world.mesh._processes[ir.GATEWAY]
    process._spec = replace(process._spec, workers=1)
    await world.mesh.prepare(lambda: None)
    await world.publish()
    assert process.pid != before[ir.GATEWAY]
    assert world.mesh._processes[ir.MESH].pid == before[ir.MESH]
    assert (await world.outside("/")).status == 200


async def test_an_error_that_nobody_foresaw_ends_no_watch_over_instances_that_come_and_go(world, monkeypatch, caplog):
    world.service("payments", routes=(Route("/"),))
    errors, look = [KeyError("payments")], world.mesh._look

    async def fail_once(*given):
        if errors:
            raise errors.pop()
        return await look(*given)

    monkeypatch.setattr(world.mesh, "_look", fail_once)
    await world.publish()
    assert errors == []
    assert "asking the proxies about instances" in caplog.text
    caplog.clear()
