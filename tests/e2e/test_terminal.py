"""What a person sees in a terminal: the status that keeps itself up to date, and bars while something is made."""

import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from e2e.harness import ATOLL

pytestmark = [pytest.mark.e2e, pytest.mark.linux, pytest.mark.timeout(120)]

WEB = """
  web:
    source: app
    instances: {instances}
    health: {{path: /healthz, interval: 500ms}}
    routes: [/]
    release: {{drain: 500ms, grace: 1s}}
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, system, *arguments):
        self.master, slave = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        # Where the suite runs in the background of a script, SIGINT is ignored, and what ignores it passes that on.
        command = ["env", "--default-signal=INT", str(ATOLL), *arguments]
        self.process = subprocess.Popen(
            command, cwd=system.directory, stdin=slave, stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        self.text = ""

    def read_until(self, look, seconds=40.0):
        deadline = time.monotonic() + seconds
        while not look(self.text):
            assert time.monotonic() < deadline, self.text[-3000:]
            try:
                self.text += ESCAPES.sub("", os.read(self.master, 65536).decode(errors="replace"))
            except OSError:  # the other side has gone
                assert look(self.text), self.text[-3000:]
        return self.text

    def ended(self, seconds=10.0):
        """Its exit code. Read to its end: who writes to a terminal that nobody reads waits for ever."""
        deadline = time.monotonic() + seconds
        while select.select([self.master], [], [], max(0.0, deadline - time.monotonic()))[0]:
            try:
                self.text += ESCAPES.sub("", os.read(self.master, 65536).decode(errors="replace"))
            except OSError:  # the other side has gone
                break
            assert time.monotonic() < deadline, self.text[-3000:]
        return self.process.wait(seconds)

    def end(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal(system):
    opened = []

    def run(*arguments):
        opened.append(Terminal(system, *arguments))
        return opened[-1]

    yield run
    for one in opened:
        one.end()


def test_a_terminal_shows_bars_while_it_goes_on_and_a_status_that_follows(system, terminal):
    system.source()
    system.write(WEB.format(instances=2))
    system.run("up", "--detach")
    watching = terminal("status", "--watch")
    watching.read_until(lambda text: "as wanted" in text and re.search(r"web\s+2/2\s+1 ", text))
    system.source(version="2")
    deploying = terminal("deploy", "web")
    drawn = deploying.read_until(lambda text: "done: deploy" in text)
    assert re.search(r"web [━╸╺]+", drawn)
    assert deploying.ended() == 0
    watching.read_until(lambda text: re.search(r"web\s+2/2\s+2 ", text))
    watching.process.send_signal(signal.SIGINT)
    assert watching.ended() == 130
