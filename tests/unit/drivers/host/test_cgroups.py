"""Control groups on directories that look like the kernel's."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from atoll.drivers.host.cgroups import Group, Tree, clear, create, granted, group, names, tree
from atoll.errors import Failed
from atoll.model.system import Resources

V2_MOUNT = "29 22 0:26 / {point} rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "3{n} 22 0:2{n} {root} {point}/{name} rw,nosuid - cgroup cgroup rw,{options}"


def v2(point, root="/"):
    return V2_MOUNT.format(point=point).replace(" / ", f" {root} ")


def directory(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, content in {"cgroup.procs": "", **files}.items():
        (path / name.replace("__", ".")).write_text(content)
    return path


def level(path: Path, controllers: str = "cpu io memory pids", passed_on: str = "") -> Path:
    return directory(path, cgroup__controllers=controllers, cgroup__subtree_control=passed_on)


def everywhere(_path: Path) -> bool:
    return True


class TestWhereGroupsCanBeMade:
    def test_root_on_v2_uses_the_top(self, tmp_path):
        level(tmp_path)
        found = tree(v2(tmp_path), "0::/system.slice/ssh.service", writable=everywhere)
        assert found == Tree(2, dict.fromkeys(("cpu", "memory", "pids"), tmp_path))
        assert found.missing() == ()

    def test_a_user_on_v2_uses_what_systemd_delegated(self, tmp_path):
        own = "user.slice/user-1000.slice/user@1000.service/app.slice/run-1.scope"
        delegated = level(tmp_path / "user.slice/user-1000.slice/user@1000.service", "memory pids")
        level(tmp_path / own)
        level(tmp_path)
        found = tree(v2(tmp_path), f"0::/{own}", writable=lambda path: path.is_relative_to(delegated))
        assert found == Tree(2, dict.fromkeys(("memory", "pids"), delegated))
        assert found.missing() == ("cpu",)

    def test_where_nothing_can_be_written_there_is_nothing(self, tmp_path):
        level(tmp_path)
        found = tree(v2(tmp_path), "0::/", writable=lambda _: False)
        assert found.missing() == ("cpu", "memory", "pids")
        made = create(found, "shop", "orders-r1-1", Resources())
        assert made.entrances == ()
        assert made.usage().cpu is None
        assert made.oom_kills() == 0
        assert made.drifted(Resources()) == ""
        made.kill()
        made.remove()

    def test_a_hybrid_host_uses_its_v1_controllers(self, tmp_path):
        rows = [("cpu", "cpu,cpuacct"), ("memory", "memory"), ("pids", "pids"), ("freezer", "freezer")]
        for name, _ in rows:
            directory(tmp_path / name)
        level(tmp_path / "unified", "")
        mounts = [
            V1_MOUNT.format(n=n, root="/", point=tmp_path, name=name, options=options)
            for n, (name, options) in enumerate(rows)
        ]
        own = "4:memory:/user\n3:cpu,cpuacct:/\n2:pids:/\n1:freezer:/\n0::/"
        found = tree("\n".join([v2(tmp_path / "unified"), *mounts]), own, writable=everywhere)
        assert found.version == 1
        assert found.directories == {
            "cpu": tmp_path / "cpu",
            "cpuacct": tmp_path / "cpu",
            "memory": tmp_path / "memory",
            "pids": tmp_path / "pids",
            "freezer": tmp_path / "freezer",
        }

    def test_a_container_with_a_part_of_v1_mounted(self, tmp_path):
        directory(tmp_path / "memory")
        mounts = V1_MOUNT.format(n=1, root="/docker/abc", point=tmp_path, name="memory", options="memory")
        found = tree(mounts, "4:memory:/docker/abc", writable=everywhere)
        assert found.directories == {"memory": tmp_path / "memory"}

    def test_nonsense_is_nowhere(self):
        assert tree("", "", writable=everywhere).directories == {}

    def test_a_controller_that_is_not_passed_on_is_not_used(self, tmp_path):
        level(tmp_path)
        (tmp_path / "cgroup.subtree_control").unlink()
        (tmp_path / "cgroup.subtree_control").mkdir()  # cannot be read or written, as where processes are in the way
        assert granted(Tree(2, {"memory": tmp_path})).directories == {}

    def test_controllers_are_asked_for_once(self, tmp_path):
        level(tmp_path, passed_on="cpu memory")
        found = granted(Tree(2, dict.fromkeys(("cpu", "memory", "pids"), tmp_path)))
        assert found.missing() == ()
        assert (tmp_path / "cgroup.subtree_control").read_text() == "+pids"


class TestVersion2:
    @pytest.fixture
    def where(self, tmp_path):
        path = level(tmp_path)
        for part in ("atoll", "shop"):
            path = level(path / part)
        return Tree(2, dict.fromkeys(("cpu", "memory", "pids"), tmp_path))

    def test_limits_are_written(self, where, tmp_path):
        made = create(where, "shop", "orders-r1-1", Resources(cpu=250, memory=1 << 20, pids=7))
        path = tmp_path / "atoll/shop/orders-r1-1"
        assert (path / "cpu.max").read_text() == "25000 100000"
        assert (path / "memory.max").read_text() == "1048576"
        assert (path / "pids.max").read_text() == "7"
        assert made.entrances == (str(path / "cgroup.procs"),)
        assert made.drifted(Resources(cpu=250, memory=1 << 20, pids=7)) == ""
        assert names(where, "shop") == {"orders-r1-1"}

    def test_without_limits_it_says_max(self, where, tmp_path):
        create(where, "shop", "orders-r1-1", Resources())
        assert (tmp_path / "atoll/shop/orders-r1-1/cpu.max").read_text() == "max 100000"
        assert (tmp_path / "atoll/shop/orders-r1-1/memory.max").read_text() == "max"

    def test_the_controllers_are_passed_on_down_to_the_system(self, where, tmp_path):
        create(where, "shop", "orders-r1-1", Resources())
        for path in (tmp_path, tmp_path / "atoll", tmp_path / "atoll/shop"):
            assert set((path / "cgroup.subtree_control").read_text().split()) == {"+cpu", "+memory", "+pids"}
        assert not (tmp_path / "atoll/shop/orders-r1-1/cgroup.subtree_control").exists()

    def test_a_tiny_share_is_what_the_kernel_accepts(self, where, tmp_path):
        create(where, "shop", "orders-r1-1", Resources(cpu=1))
        assert (tmp_path / "atoll/shop/orders-r1-1/cpu.max").read_text() == "1000 100000"

    @pytest.mark.parametrize(
        ("file", "content", "words"),
        [
            ("memory.max", "max", "memory.max was changed to max"),
            ("cpu.max", "max 100000", "cpu.max"),
            ("cpu.max", "25001 100000", "cpu.max"),
            ("pids.max", "8", "pids.max was changed to 8 (it should be 7)"),
        ],
    )
    def test_a_changed_limit_is_named(self, where, tmp_path, file, content, words):
        wanted = Resources(cpu=250, memory=1 << 20, pids=7)
        made = create(where, "shop", "orders-r1-1", wanted)
        (tmp_path / "atoll/shop/orders-r1-1" / file).write_text(content)
        assert words in made.drifted(wanted)

    def test_a_group_taken_away_is_named(self, where, tmp_path):
        assert "is gone" in group(where, "shop", "orders-r1-1").drifted(Resources())

    def test_use_is_counted(self, where, tmp_path):
        path = directory(
            tmp_path / "atoll/shop/orders-r1-1",
            cpu__stat="usage_usec 2500000\nuser_usec 1\n",
            memory__current="9000",
            memory__stat="anon 1\ninactive_file 4000\n",
            memory__events="low 0\noom 3\noom_kill 2\n",
            pids__current="5",
        )
        path.joinpath("cgroup.procs").write_text("1\n2\n")
        made = group(where, "shop", "orders-r1-1")
        usage = made.usage()
        assert (usage.cpu, usage.memory, usage.pids) == (2.5, 5000, 5)
        assert made.oom_kills() == 2
        assert made.members() == (1, 2)

    def test_the_kernel_ends_all_members(self, where, tmp_path):
        path = directory(tmp_path / "atoll/shop/orders-r1-1", cgroup__kill="")
        group(where, "shop", "orders-r1-1").kill()
        assert (path / "cgroup.kill").read_text() == "1"

    def test_one_that_is_not_empty_cannot_be_removed(self, where, tmp_path):
        directory(tmp_path / "atoll/shop/orders-r1-1/child")
        with pytest.raises(Failed, match="cannot be removed"):
            group(where, "shop", "orders-r1-1").remove()

    def test_a_refusal_is_told(self, where, tmp_path):
        (tmp_path / "atoll/shop/orders-r1-1").write_text("a file in the way")
        with pytest.raises(Failed, match="orders-r1-1"):
            create(where, "shop", "orders-r1-1", Resources())


class TestVersion1:
    @pytest.fixture
    def where(self, tmp_path):
        names_ = ("cpu", "cpuacct", "memory", "pids", "freezer")
        return Tree(1, {name: directory(tmp_path / name) for name in names_})

    def test_limits_are_written(self, where, tmp_path):
        made = create(where, "shop", "orders-r1-1", Resources(cpu=250, memory=1 << 20, pids=7))
        assert (tmp_path / "cpu/atoll/shop/orders-r1-1/cpu.cfs_quota_us").read_text() == "25000"
        assert (tmp_path / "memory/atoll/shop/orders-r1-1/memory.limit_in_bytes").read_text() == "1048576"
        assert (tmp_path / "pids/atoll/shop/orders-r1-1/pids.max").read_text() == "7"
        assert len(made.entrances) == 5

    def test_no_limit_is_shown_as_a_huge_number_and_is_the_same(self, where, tmp_path):
        made = create(where, "shop", "orders-r1-1", Resources())
        (tmp_path / "memory/atoll/shop/orders-r1-1/memory.limit_in_bytes").write_text("9223372036854771712")
        assert made.drifted(Resources()) == ""

    def test_bytes_are_rounded_to_pages(self, where, tmp_path):
        made = create(where, "shop", "orders-r1-1", Resources(memory=1_000_000))
        page = os.sysconf("SC_PAGE_SIZE")
        (tmp_path / "memory/atoll/shop/orders-r1-1/memory.limit_in_bytes").write_text(str(1_000_000 // page * page))
        assert made.drifted(Resources(memory=1_000_000)) == ""

    def test_use_is_counted(self, where, tmp_path):
        for controller, files in {
            "cpuacct": {"cpuacct__usage": "1500000000"},
            "memory": {
                "memory__usage_in_bytes": "9000",
                "memory__stat": "cache 9\ntotal_inactive_file 4000\n",
                "memory__oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
            },
            "pids": {"pids__current": "3"},
        }.items():
            directory(tmp_path / controller / "atoll/shop/orders-r1-1", **files)
        made = group(where, "shop", "orders-r1-1")
        assert (made.usage().cpu, made.usage().memory, made.usage().pids) == (1.5, 5000, 3)
        assert made.oom_kills() == 1

    def test_members_are_frozen_and_ended(self, tmp_path):
        path = directory(tmp_path / "freezer")
        child = subprocess.Popen(["sleep", "600"])
        try:
            (path / "cgroup.procs").write_text(f"{child.pid}\n")
            Group(1, {"freezer": path}).kill()
            assert child.wait(10) == -signal.SIGKILL
        finally:
            child.kill()
            child.wait()
        assert (path / "freezer.state").read_text() == "THAWED"


def test_the_trees_of_a_system_are_removed_when_empty(tmp_path):
    where = Tree(1, {"pids": directory(tmp_path)})
    (tmp_path / "atoll/shop").mkdir(parents=True)
    (tmp_path / "atoll/other").mkdir()
    clear(where, "shop")
    assert not (tmp_path / "atoll/shop").exists()
    clear(where, "other")
    assert not (tmp_path / "atoll").exists()
    assert names(where, "shop") == set()
