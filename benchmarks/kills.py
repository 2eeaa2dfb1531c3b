"""
What a killed instance costs: SIGKILL for 1 of 3 instances under load, again and again.

    python -m benchmarks.kills [TIMES]

In turns with the same program started bare on the same busy machine, which is what a replacement cannot be quicker
than.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import heading, single, spread
from benchmarks.running import System, running, until
from benchmarks.watching import NamedLoad

from atoll.plan.restarts import GOOD_RUN
from ports import free_port

TIMES = 20
SLOWEST_START = 2.0
SERVICES = """
  web:
    source: app
    run: python3 main.py
    instances: 3
    health: /healthz
    routes: [/]
"""


def bare_start(program: str, directory: Path) -> float:
    """Milliseconds from the start of the program to its first answer, without any platform."""
    port = free_port()
    began = time.monotonic()
    environment = os.environ | {"PORT": str(port), "HOST": "127.0.0.1"}
    process = subprocess.Popen([program, "main.py"], cwd=directory, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not _answers(port):
            time.sleep(0.002)
        return (time.monotonic() - began) * 1000
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1) as response:
            return bool(response.status == 200)
    except urllib.error.URLError:
        return False


def _victim(system: System) -> Mapping[str, Any] | None:
    """One that may be killed: what ends soon after it began counts as a crash, and crashes in a row wait."""
    instances = system.instances("web")
    oldest = min(instances, key=lambda i: i["started_at"])
    served = time.time() - oldest["started_at"] > GOOD_RUN + SLOWEST_START
    return oldest if len(instances) == 3 and served else None


def kill_one(system: System, load: NamedLoad) -> float:
    """Milliseconds from the kill to the first answer of the replacement."""
    oldest = until(lambda: _victim(system), seconds=30, what="three instances, one of which has served for a while")
    known = set(load.first)
    began = time.monotonic()
    os.kill(oldest["pid"], signal.SIGKILL)
    killed = time.monotonic()
    until(lambda: set(load.first) - known, seconds=30, what="an answer of the replacement")
    new = next(iter(set(load.first) - known))
    assert load.first[new] > began
    return (load.first[new] - killed) * 1000


def main(times: int = TIMES) -> None:
    with running() as system:
        source = system.source()
        system.write(SERVICES)
        system.run("up", "--detach")
        program = str(Path(f"/proc/{system.instances('web')[0]['pid']}/exe").readlink())
        heading(f"kills: SIGKILL for 1 of 3 instances under load, {times} times")
        bare, ours = [], []
        with NamedLoad(system.port, clients=4, pause=0.02) as load:
            load.wait(100)
            for _ in range(times):
                bare.append(bare_start(program, source))
                ours.append(kill_one(system, load))
                load.wait(50)
        crashes = system.run("events", "--limit", "1000").stdout.count("killed by SIGKILL")
        single(
            f"failed requests, of {load.count} (all idempotent), {crashes} kills seen in the journal",
            len(load.failed),
            "0",
        )
        for _, words in load.failed[:5]:
            single("  failed", words)
        spread("the program started bare, to its first answer", bare, "ms")
        spread("the replacement, from the kill to its first answer", ours, "ms", "bare + 100 ms")
        single("difference of the medians", f"{median(ours) - median(bare):.1f} ms", "100 ms")


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
