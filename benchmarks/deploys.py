"""
What a release costs those who use the system: consecutive deploys under constant load by keep-alive clients.

    python -m benchmarks.deploys [TIMES]
"""

from __future__ import annotations

import json
import sys
import time

from benchmarks.figures import heading, percentile, single, spread
from benchmarks.running import running
from benchmarks.watching import NamedLoad

TIMES = 50
SERVICES = """
  web:
    source: app
    run: python3 main.py
    instances: 2
    health: /healthz
    routes: [/]
"""


def main(times: int = TIMES) -> None:
    with running() as system:
        system.source(version="0")
        system.write(SERVICES)
        system.run("up", "--detach")
        heading(f"deploys: {times} consecutive ones under constant load by 8 keep-alive clients")
        took = []
        with NamedLoad(system.port, clients=8) as load:
            load.wait(100)
            for number in range(1, times + 1):
                system.source(version=str(number))
                began = time.monotonic()
                system.run("deploy", "web")
                took.append(time.monotonic() - began)
                status, text = system.get("/")
                assert (status, json.loads(text)["version"]) == (200, str(number))
            load.wait(100)
        single(f"failed requests, of {load.count}", len(load.failed), "0")
        for _, words in load.failed[:5]:
            single("  failed", words)
        single("releases that served", len([n for n in load.first if n.startswith("web-r")]) // 2, str(times + 1))
        spread("one deploy of 2 instances, with build and drain", took, "s")
        times_ms = [seconds * 1000 for _, seconds in load.times]
        single(
            "requests meanwhile, p50 and p99",
            f"{percentile(times_ms, 0.5):.2f} ms, {percentile(times_ms, 0.99):.2f} ms",
        )


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
