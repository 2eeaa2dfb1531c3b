"""
What a parallel run costs the user: p99 with a slow, failing shadow, beside the same service without one.

    python -m benchmarks.comparing [ROUNDS]

Three services of the same program in one system. Calls to `copied` are copied to a release that takes 1.5 s and answers
500; nothing is copied of `peer` and `control`. They are asked in turns, at the same rate, so that what disturbs one
disturbs all, and what `control` differs in from `peer` is the machine's doing.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import heading, percentile, single, spread
from benchmarks.running import System, consumed, running, until

from e2e.load import Load

ROUNDS = 24
SECONDS = 3.0
NAMES = ("copied", "peer", "control")
CLIENTS, PAUSE = 8, 0.06  # with the 20 ms that an answer takes: about 100 requests a second
SHARES = ("10%", "100%")
SERVICES = """
  copied:
    source: copied
    instances: 2
    health: {{path: /healthz, interval: 500ms}}
    routes: [/copied]
    compare:
      share: {share}
      for: 1h
      masked: [name, headers]
      intended: [{{field: ':status', owner: bench, reason: it is to fail, expires: 2099-12-31}}]
    release: {{most: 2h, drain: 1s}}
  peer: &peer
    source: peer
    instances: 2
    health: {{path: /healthz, interval: 500ms}}
    routes: [/peer]
  control: {{<<: *peer, source: control, routes: [/control]}}
"""
ANSWER = "async def answer(method, target, headers, body, reader, writer):\n"
WORKS = f"{ANSWER}    await asyncio.sleep(0.02)\n"
SLOW = f"{ANSWER}    await asyncio.sleep(1.5 if target.startswith('/copied') else 0.0)\n"
GOOD, BAD = "status, text = 200, ", "status, text = 500 if target.startswith('/copied') else 200, "


def main(rounds: int = ROUNDS) -> None:
    """With the share that is the default, and with everything copied."""
    for share in SHARES:
        with running() as system:
            _measure(system, share, rounds)


def _measure(system: System, share: str, rounds: int) -> None:
    mains = {name: system.source(name) / "main.py" for name in NAMES}
    text = mains["copied"].read_text()
    for main_file in mains.values():
        main_file.write_text(text.replace(ANSWER, WORKS))
    system.write(SERVICES.format(share=share))
    system.run("up", "--detach")
    mains["copied"].write_text(text.replace(ANSWER, SLOW).replace(GOOD, BAD))
    system.run("deploy", "copied")
    system.run("release", "copied")
    with Load(system.port, "/copied", CLIENTS, PAUSE):
        until(lambda: _comparison(system)["samples"] > 5, seconds=60, what="comparisons")
    before, cpu, began = _comparison(system)["samples"], consumed(_comparer(system)), time.monotonic()
    found = [_round(system, number) for number in range(rounds)]
    used, after = consumed(_comparer(system)) - cpu, _comparison(system)
    heading(f"comparing: {share} of about 100 requests a second copied to a release that takes 1.5 s and fails")
    for name, place in (("p50", 0.5), ("p99", 0.99)):
        for which in NAMES:
            spread(f"{name} of {which}", [percentile(one[which], place) * 1000 for one in found], "ms")
        _ratios(f"{name} of copied / peer", found, "copied", place, "under 1.05" if name == "p99" else "")
        _ratios(f"{name} of control / peer, which is noise", found, "control", place, "")
    samples = after["samples"] - before
    single("compared, left out", f"{samples}, {json.dumps(after['left_out'])}")
    single("processor time of the comparer", f"{used / max(1, samples) * 1000:.1f} ms for each comparison")
    single("  and as a share of a core", f"{used / (time.monotonic() - began):.1%}")
    single("requests that failed", sum(int(one["failed"][0]) for one in found), "0")
    single("median requests of a window", median(len(one["copied"]) for one in found))


def _ratios(what: str, found: list[dict[str, list[float]]], which: str, place: float, target: str) -> None:
    """Round by round, as the windows of a round saw the same machine; and of all rounds together."""
    ratios = [percentile(one[which], place) / percentile(one["peer"], place) for one in found]
    spread(what, ratios, "", target)
    whole = [percentile([seconds for one in found for seconds in one[name]], place) for name in (which, "peer")]
    single("  all rounds together", f"{whole[0] / whole[1]:.3f}", target)


def _round(system: System, number: int) -> dict[str, list[float]]:
    """One window of each, each time in another order."""
    result: dict[str, list[float]] = {"failed": [0.0]}
    for name in (*NAMES[number % 3 :], *NAMES[: number % 3]):
        with Load(system.port, f"/{name}", CLIENTS, PAUSE) as load:
            load.wait(10**9, SECONDS)
        result[name] = [seconds for _, seconds in load.times[CLIENTS:]]  # connections are made in the first ones
        result["failed"][0] += len(load.failed)
    return result


def _comparison(system: System) -> dict[str, Any]:
    done = system.run("compare", "copied", "--json", ok=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"samples": 0}  # type: ignore[no-any-return]


def _comparer(system: System) -> int:
    socket = str(system.places.run / "compare" / "copies.sock").encode()
    for path in Path("/proc").glob("[0-9]*"):
        words = (path / "cmdline").read_bytes().split(b"\0") if (path / "cmdline").exists() else []
        if socket in words and b"atoll.comparer" in words and b"--unshare-all" not in words:
            return int(path.name)
    raise LookupError("there is no comparer")


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
