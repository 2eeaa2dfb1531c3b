"""`atoll up` in the foreground: it stays with the system from its first moment on, and says what becomes of it."""

import signal
import socket
import subprocess
import threading
import time

import pytest

from e2e.harness import ATOLL, until

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(180)]

WEB = """
  web:
    source: app
    health: {path: /healthz, interval: 500ms}
    routes: [/]
    release: {drain: 0s, grace: 1s}
"""


class Foreground:
    """`atoll up`, and what it has printed."""

    def __init__(self, system):
        # Where the suite runs in the background of a script, SIGINT is ignored, and what ignores it passes that on.
        command = ["env", "--default-signal=INT", str(ATOLL), "up"]
        self.process = subprocess.Popen(
            command, cwd=system.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.text = ""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self):
        for line in self.process.stdout:
            self.text += line

    def read_until(self, words, seconds=60.0):
        until(lambda: words in self.text or self.process.poll() is not None, seconds, what=f"{words!r} in {self.text}")
        assert words in self.text

    def ended(self, seconds=60.0):
        code = self.process.wait(seconds)
        self._reading.join(seconds)
        return code


@pytest.fixture
def up(system):
    begun = []

    def begin():
        begun.append(Foreground(system))
        return begun[-1]

    system.source()
    system.write(WEB)
    yield begin
    for one in begun:
        one.process.kill()
        one.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("moment", ["starting the control plane", "plan ", "test is up"])
def test_it_is_taken_down_from_its_first_moment_on(system, up, number, moment):
    foreground = up()
    foreground.read_until(moment)
    foreground.process.send_signal(number)
    assert foreground.ended() == 0
    assert "taking it down\n" in foreground.text
    assert "down: nothing of it runs any more\n" in foreground.text
    until(lambda: not system.left(), what=f"nothing left ({system.left()})")


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("moment", ["starting the control plane", "test is up"])
def test_a_second_interrupt_keeps_nothing_from_being_taken_down(system, up, moment, pause):
    """At once it is taken for the first; later it ends the wait, and what was told to end goes on without it."""
    foreground = up()
    foreground.read_until(moment)
    foreground.process.send_signal(signal.SIGINT)
    time.sleep(pause)
    foreground.process.send_signal(signal.SIGINT)
    code = foreground.ended()
    waits = "this command does not wait for it: `atoll down` does" not in foreground.text
    assert code == (0 if waits else 130), foreground.text
    until(lambda: not system.left(), what=f"nothing left ({system.left()})")


def test_a_first_apply_that_fails_says_why_and_what_now(system, up):
    with socket.create_server(("127.0.0.1", system.port)):
        foreground = up()
        foreground.read_until("the system stays as it is; mend the file and run `atoll apply`")
        assert f"the gateway cannot listen on 127.0.0.1:{system.port}" in foreground.text
    system.run("apply", "--yes")
    assert system.get("/")[0] == 200
    foreground.process.send_signal(signal.SIGINT)
    assert foreground.ended() == 0


def test_a_control_plane_that_dies_is_started_again_whatever_the_file_says(system, up):
    foreground = up()
    foreground.read_until("Ctrl-C takes it down; ")
    before, pid = system.instances("web"), system.control_plane()
    system.file.write_text("services: [what was being writ")
    system.kill_control_plane()
    foreground.read_until("starting it again")
    until(lambda: system.control_plane() != pid, what="another control plane")
    until(lambda: system.run("status", ok=False).returncode == 0, what="its answer")
    assert [i["pid"] for i in until(lambda: system.instances("web"))] == [i["pid"] for i in before]
    foreground.process.send_signal(signal.SIGINT)
    assert foreground.ended() == 0
    assert system.left() == []


def test_it_ends_when_the_system_is_taken_down_by_somebody_else(system, up):
    foreground = up()
    foreground.read_until("Ctrl-C takes it down; ")
    system.run("down")
    assert foreground.ended() == 0
    assert "starting it again" not in foreground.text
    assert system.left() == []
