"""What is on its way and never arrives does not hold up who takes the system down, or mends it."""

import subprocess
from contextlib import contextmanager

import pytest

from e2e.harness import ATOLL, until
from e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(120)]

WEB = """
  web:
    source: app
    health: {interval: 500ms, startup: 1h}
    routes: [/]
    release: {drain: 0s, grace: 2s}
"""
NEVER = WEB + "    run: sleep 500\n"
SOON = 30


@contextmanager
def waiting(system, *arguments):
    """A command that waits for its change, in the background."""
    command = [str(ATOLL), *arguments]
    with subprocess.Popen(
        command, cwd=system.directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def rolls(system):
    """The rollout has a process that never listens."""
    return lambda: any(i["state"] == "starting" and i["pid"] for i in system.status("web")["instances"])


def test_down_does_not_wait_for_a_release_that_never_gets_ready_and_who_waits_is_told(system):
    system.source()
    system.write(WEB)
    system.run("up", "--detach")
    system.write(NEVER)
    with waiting(system, "apply", "--yes") as apply:
        until(rolls(system), what="the rollout")
        system.run("down", timeout=SOON)
        assert apply.wait(SOON) == 1
        assert "cancelled: the system was taken down" in apply.communicate()[1]
    assert system.left() == []


def test_an_abort_makes_way_for_the_mended_file_and_the_old_release_never_stops_serving(system):
    system.source()
    system.write(WEB)
    system.run("up", "--detach")
    with Load(system.port, clients=2, pause=0.02) as load:
        system.write(NEVER)
        with waiting(system, "apply", "--yes") as first:
            until(rolls(system), what="the rollout")
            system.source(version="2")
            system.write(WEB)
            with waiting(system, "apply", "--yes") as second:
                until(lambda: (system.status()["change"] or {}).get("state") == "queued", what="the second apply")
                assert system.status()["change"]["reason"].startswith("waits for change 2 (apply), which is rolling")
                aborted = system.run("abort", "web", "--reason", "it sleeps", timeout=SOON)
                assert "the old release never stopped serving" in aborted.stdout
                assert first.wait(SOON) == 1
                assert "web: release 2 was aborted by root: it sleeps" in first.communicate()[1]
                assert second.wait(SOON) == 0, second.communicate()
        load.wait(20)
    assert load.failed == []
    assert '"2"' in system.get("/")[1]
