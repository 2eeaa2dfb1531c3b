"""
What importing costs a program: CPU time of fresh interpreters, against `python -c pass` in the same rounds.

    PYTHONPATH=src python benchmarks/kit/imports.py

Milliseconds, the median of 31 rounds in which every case has its turn, with the quartiles. With bytecode written.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys

from peers import present

ROUNDS = 31

CASES = {
    "pass": "pass",
    "atoll.kit": "import atoll.kit",
    "atoll.kit, a Policy": "from atoll.kit import Breaker, Policy, Retry",
    "atoll.kit, an async call": (
        "import asyncio; from atoll.kit import Breaker, Policy, Retry; "
        "asyncio.run(Policy('p', retry=Retry(), breaker=Breaker(), timeout=1.0).call(asyncio.sleep, 0))"
    ),
    "dataclasses": "import dataclasses",
    "asyncio": "import asyncio",
}
PEERS = {
    "nopanic": "nopanic",
    "resilix": "resilix",
    "grit": "grit-toolkit",
    "pyresilience": "pyresilience",
    "hyx.circuitbreaker": "hyx",
    "interlock": "interlock-cb",
    "tenacity": "tenacity",
    "stamina": "stamina",
    "purgatory": "purgatory",
    "pybreaker": "pybreaker",
}


def seconds(code: str) -> float:
    """CPU time of one interpreter that runs `code`."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    cases = CASES | {name: f"import {module}" for module, name in PEERS.items() if present(module.partition(".")[0])}
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for code in cases.values():
        seconds(code)  # writes the bytecode
    for _ in range(ROUNDS):
        for name, code in cases.items():
            taken[name].append(1000 * seconds(code))
    floor = statistics.median(taken["pass"])
    print(f"Python {platform.python_version()}; over `python -c pass`, which took {floor:.1f} ms\n")
    print("| import | ms | quartiles |\n|---|---|---|")
    for name in cases:
        over = [mine - least for mine, least in zip(taken[name], taken["pass"], strict=True)]
        low, middle, high = statistics.quantiles(over, n=4)
        print(f"| {name} | {middle:.1f} | {low:.1f} to {high:.1f} |")


if __name__ == "__main__":
    main()
