"""The doctor on this host, and on hosts that lack something."""

from __future__ import annotations

import sys

import pytest

from atoll.drivers import doctor
from atoll.drivers.doctor import examine
from atoll.drivers.host.cgroups import Tree
from atoll.errors import Unavailable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the facts are Linux' own")


def finding(name):
    return next(one for one in examine() if one.name == name)


def test_each_fact_has_a_name_of_its_own_and_words():
    findings = examine()
    names = [one.name for one in findings]
    assert len(set(names)) == len(names)
    assert all(one.fact for one in findings)
    assert {"system", "kernel", "namespaces", "bubblewrap", "control groups", "envoy", "uv"} <= set(names)


def test_another_system_ends_the_examination(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    (only,) = examine()
    assert not only.ok
    assert "Linux" in only.mend


def test_an_old_kernel_is_named(monkeypatch):
    monkeypatch.setattr("platform.release", lambda: "4.19.0-26-amd64")
    assert not finding("kernel").ok
    monkeypatch.setattr("platform.release", lambda: "5.10.0")
    assert finding("kernel").ok


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, **_: None if name == "nsenter" else f"/usr/bin/{name}")
    assert finding("util-linux").fact == "there is no nsenter"
    assert not finding("util-linux").ok


def test_a_tool_that_fails_is_quoted(monkeypatch):
    monkeypatch.setattr(doctor, "_unshare", lambda: ["ls", "/nowhere-at-all"])
    found = finding("namespaces")
    assert not found.ok
    assert "/nowhere-at-all" in found.fact
    assert found.mend


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "apparmor_restrict_unprivileged_userns=0"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "0", "unprivileged_userns_clone=1"),
        ("/proc/sys/user/max_user_namespaces", "0", "max_user_namespaces="),
    ],
)
def test_why_namespaces_are_forbidden_has_its_own_mend(monkeypatch, path, value, words):
    monkeypatch.setattr(doctor, "_unshare", lambda: ["false"])
    monkeypatch.setattr(doctor, "_setting", lambda asked: value if asked == path else "")
    assert words in finding("namespaces").mend


def test_no_control_group_is_a_failure_with_a_way_out(monkeypatch):
    monkeypatch.setattr("atoll.drivers.host.cgroups.host_tree", lambda: Tree(2, {}))
    found = finding("control groups")
    assert not found.ok
    assert "cpu, memory, pids" in found.fact
    assert "Delegate=yes" in found.mend


def test_no_bubblewrap_is_a_failure(monkeypatch):
    def none():
        raise Unavailable("there is no bubblewrap on this host", hint="install it")

    monkeypatch.setattr(doctor, "bwrap", none)
    assert finding("bubblewrap").mend == "install it"


def test_no_node_is_a_fact_and_no_failure(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, **_: None if name == "node" else f"/usr/bin/{name}")
    assert finding("node").ok
    assert "no node" in finding("node").fact


def test_an_unknown_machine_is_not_filtered(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert not finding("seccomp").ok


def test_what_ends_with_a_log_out_is_a_failure_with_a_way_out(monkeypatch):
    monkeypatch.setattr("atoll.drivers.host.sessions.ending_with", lambda: "ann")
    found = finding("log-out")
    assert (found.ok, found.fact, found.mend) == (
        False,
        "what runs here ends when ann logs out",
        "loginctl enable-linger",
    )


def test_a_tool_that_hangs_is_named(monkeypatch):
    monkeypatch.setattr(doctor, "_unshare", lambda: ["sh", "-c", "sleep 60"])
    monkeypatch.setattr(doctor, "_PATIENCE", 0.1)
    assert "did not end within 0.1 s" in finding("namespaces").fact
