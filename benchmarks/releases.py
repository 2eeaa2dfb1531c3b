"""
What a bad release does to users: 20 % errors, a tenth of the traffic, about 100 requests a second, on real Envoy.

    python -m benchmarks.releases [ROUNDS]

Counted are the requests that failed until the release was out, and how long the proxies took to acknowledge an abort.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from benchmarks.figures import heading, spread
from benchmarks.running import System, running, until

from e2e.load import Load

ROUNDS = 5
ABORTS = 5
SERVICES = """
  web:
    source: app
    instances: 3
    health: {path: /healthz, interval: 500ms}
    routes: [/]
    release: {strategy: canary, steps: [{weight: 10%, for: 1m}], bake: 2s, drain: 1s}
"""
GOOD = "async def answer(method, target, headers, body, reader, writer):\n"
BAD = (
    GOOD + "    import random\n    if target == '/hello' and random.random() < 0.2:\n"
    "        writer.write(b'HTTP/1.1 500 No\\r\\ncontent-length: 0\\r\\n\\r\\n')\n        return True\n"
)


def main(rounds: int = ROUNDS) -> None:
    """Deploy, release, and wait for the judge; then the same with a person who aborts."""
    with running() as system:
        main_file = system.source() / "main.py"
        good = main_file.read_text()
        system.write(SERVICES)
        system.run("up", "--detach")
        main_file.write_text(good.replace(GOOD, BAD))
        harmed, out = [], []
        for _ in range(rounds):
            failed, seconds = _judged(system)
            harmed.append(failed)
            out.append(seconds)
        main_file.write_text(good)
        aborts = [_aborted(system) * 1000 for _ in range(ABORTS)]
    heading("releases: a version with 20 % errors at 10 % of 100 requests a second")
    spread("requests that failed until it was out", harmed, "", "under 15")
    spread("from its first share to weight 0 for good", out, "s", "under 60 s")
    spread("from an abort to weight 0 acknowledged by every proxy", aborts, "ms", "under 1000 ms")


def _judged(system: System) -> tuple[float, float]:
    system.run("deploy", "web")
    with Load(system.port, "/hello", clients=4, pause=0.04) as load:
        load.wait(200)
        system.run("release", "web")
        until(lambda: "canary" in system.status("web")["why"], what="its share")
        began = time.monotonic()
        until(lambda: not system.status("web")["target"], seconds=300, what="the verdict")
        return float(len(load.failed)), time.monotonic() - began


def _aborted(system: System) -> float:
    """From the decision to the acknowledgement of every proxy, as the journal has it."""
    system.run("deploy", "web")
    system.run("release", "web")
    until(lambda: "canary" in system.status("web")["why"], what="its share")
    system.run("abort", "web")
    until(lambda: not system.status("web")["target"], what="the end")
    events = [json.loads(line) for line in system.run("events", "web", "--json").stdout.splitlines()]
    return _last(events, "is rolled-back") - _last(events, "is aborting")


def _last(events: list[dict[str, Any]], text: str) -> float:
    return max(float(e["at"]) for e in events if text in e["text"])


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
