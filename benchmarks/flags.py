"""
Flags: the time of an evaluation beside openfeature-flagd-core and openfeature-provider-flagd, and of a change.

    python -m benchmarks.flags

The peers are installed into an environment that is thrown away, and everything is measured there, in one process. The
five ways of asking take turns, sample by sample, so that a busy moment of the machine hits all of them; every call asks
for another one of 1,000 people. Through the SDK the peer reads the same file (`ResolverType.FILE`).
"""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import heading, single, spread

ROOT = Path(__file__).resolve().parent.parent
PEERS = ("openfeature-provider-flagd==0.6.1", "openfeature-flagd-core==2.0.0", "openfeature-sdk==0.10.0")
PEOPLE, SAMPLES, CALLS, CLIENTS, CHANGES = 1000, 60, 1000, 50, 30

COMPLEX = {
    "if": [
        {"$ref": "staff"},
        "b",
        {"and": [{"sem_ver": [{"var": "version"}, ">=", "2.1.0"]}, {"in": [{"var": "plan"}, ["pro", "enterprise"]]}]},
        {
            "fractional": [
                {"cat": [{"var": "$flagd.flagKey"}, {"var": "targetingKey"}]},
                ["a", 50],
                ["b", 25],
                ["c", 25],
            ]
        },
        "a",
    ]
}
CASES: dict[str, Any] = {
    "static": None,
    "simple": {"if": [{"==": [{"var": "country"}, "DE"]}, "b", "a"]},
    "fractional": {"fractional": [["b", 10], ["a", 90]]},
    "complex": COMPLEX,
}
TARGETS = {"static": "<= 2", "simple": "<= 2", "complex": "<= 12"}
NATIVE, PEER = "FlagClient", "SDK + provider-flagd"


def flag(targeting: Any) -> dict[str, Any]:
    made = {"state": "ENABLED", "variants": {"a": "A", "b": "B", "c": "C"}, "defaultVariant": "a"}
    return made if targeting is None else {**made, "targeting": targeting}


DOCUMENT = {
    "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@corp.com"]}},
    "flags": {name: flag(targeting) for name, targeting in CASES.items()},
}
ATTRIBUTES = [
    {
        "email": f"u{number}@{'corp.com' if number % 50 == 0 else 'example.org'}",
        "country": ("DE", "FR", "AT")[number % 3],
        "version": f"2.{number % 5}.0",
        "plan": ("free", "pro", "enterprise")[number % 3],
    }
    for number in range(PEOPLE)
]

Ask = Callable[[str, int], Any]


def native(path: Path) -> dict[str, Ask]:
    from atoll.kit.flags import FlagClient, Flags  # noqa: PLC0415 - only in the peers' environment

    contexts = [{"targetingKey": f"user-{number}", **each} for number, each in enumerate(ATTRIBUTES)]
    flags, client = Flags.load(path.read_text()), FlagClient(path)
    if not client.ready(10):
        raise SystemExit(client.problem)
    return {
        "Flags.evaluate": lambda key, who: flags.evaluate(key, contexts[who], "A").value,
        NATIVE: lambda key, who: client.string(key, "A", contexts[who]),
    }


def peers(path: Path) -> dict[str, Ask]:
    from openfeature import api  # noqa: PLC0415 - only in the peers' environment
    from openfeature.contrib.provider.flagd import FlagdProvider  # noqa: PLC0415
    from openfeature.contrib.provider.flagd.config import ResolverType  # noqa: PLC0415
    from openfeature.contrib.tools.flagd.core import FlagdCore  # noqa: PLC0415
    from openfeature.evaluation_context import EvaluationContext  # noqa: PLC0415

    from atoll.kit.flags import FlagClient  # noqa: PLC0415
    from atoll.kit.integrations.openfeature import FlagProvider  # noqa: PLC0415

    contexts = [EvaluationContext(f"user-{number}", each) for number, each in enumerate(ATTRIBUTES)]
    core = FlagdCore()
    core.set_flags(path.read_text())
    theirs = FlagdProvider(resolver_type=ResolverType.FILE, offline_flag_source_path=str(path))
    api.set_provider_and_wait(theirs, domain="theirs")
    api.set_provider_and_wait(FlagProvider(FlagClient(path)), domain="ours")
    sdk = {name: api.get_client(domain=name) for name in ("theirs", "ours")}
    return {
        "SDK + FlagProvider": lambda key, who: sdk["ours"].get_string_value(key, "A", contexts[who]),
        "FlagdCore": lambda key, who: core.resolve_string_value(key, "A", contexts[who]).value,
        PEER: lambda key, who: sdk["theirs"].get_string_value(key, "A", contexts[who]),
    }


def sample(ask: Ask, key: str, first: int) -> float:
    """Microseconds of one call, with the call of a lambda around it, the same for all."""
    began = time.perf_counter_ns()
    for who in range(first, first + CALLS):
        ask(key, who % PEOPLE)
    return (time.perf_counter_ns() - began) / CALLS / 1000


def evaluations(ways: dict[str, Ask]) -> None:
    for case in CASES:
        wrong = [each for each in range(PEOPLE) if len({ask(case, each) for ask in ways.values()}) > 1]
        single(f"{case}: people for whom the ways disagree", len(wrong), "0")
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(SAMPLES):
            for name, ask in ways.items():
                taken[name].append(sample(ask, case, turn * 7))
        for name, times in taken.items():
            spread(f"{case}: {name}", times, "us", TARGETS.get(case, "") if name == NATIVE else "")
        for name, times in taken.items():
            ratio = median(times) / median(taken[NATIVE])
            if name not in (NATIVE, "Flags.evaluate"):
                single(f"{case}: {name}, times {NATIVE}", f"{ratio:.1f}", ">= 5" if name == PEER else "")


def loading() -> None:
    from openfeature.contrib.tools.flagd.core import FlagdCore  # noqa: PLC0415 - only in the peers' environment

    from atoll.kit.flags import Flags  # noqa: PLC0415

    many = {**DOCUMENT, "flags": {f"f{number}": flag(COMPLEX) for number in range(2000)}}
    other = copy.deepcopy(many)
    other["flags"]["f7"]["defaultVariant"] = "b"
    times: dict[str, list[float]] = {}
    for _ in range(7):
        before = Flags.load(many)
        for name, load in (
            ("Flags.load, checked and compiled", lambda: Flags.load(json.dumps(many))),
            ("Flags.load after one of them changed", lambda before=before: Flags.load(json.dumps(other), before)),
            ("FlagdCore.set_flags, unchecked", lambda: FlagdCore().set_flags(json.dumps(many))),
        ):
            began = time.perf_counter()
            load()
            times.setdefault(name, []).append((time.perf_counter() - began) * 1000)
    for name, taken in times.items():
        spread(f"2,000 complex flags: {name}", taken, "ms")


def changes(directory: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "unit" / "kit" / "flags"))
    from flagserver import FlagServer, document, until  # noqa: PLC0415 - the tests' own server

    from atoll.kit.flags import FlagClient  # noqa: PLC0415

    server = FlagServer(directory / "flags.sock").start()
    server.beat = 5
    clients = [FlagClient(server.url) for _ in range(CLIENTS)]
    until(lambda: server.streams == CLIENTS, 60)
    first, last = [], []
    for turn in range(CHANGES):
        wanted = turn % 2 == 0
        arrived: list[float] = []

        def arrive(notice: Any, arrived: list[float] = arrived) -> None:
            if notice.kind == "changed":
                arrived.append(time.perf_counter())

        ends = [each.subscribe(arrive) for each in clients]
        began = time.perf_counter()
        server.publish(document("on" if wanted else "off"))
        until(lambda arrived=arrived: len(arrived) >= CLIENTS, 60)
        if not all(each.boolean("f", not wanted) is wanted for each in clients):
            raise SystemExit("a client did not get a change")
        first.append((min(arrived) - began) * 1000)
        last.append((max(arrived) - began) * 1000)
        for end in ends:
            end()
    spread("a change is with the first of 50 clients after", first, "ms")
    spread("a change is with all of 50 clients after", last, "ms", "<= 1000")
    for each in clients:
        each.close()
    server.stop()


def measure() -> None:
    heading("Flags: microseconds of one evaluation (each row the median of samples of 1,000 calls)")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "flags.json"
        path.write_text(json.dumps(DOCUMENT))
        evaluations({**native(path), **peers(path)})
        heading("Flags: loading, and a change on its way")
        loading()
        changes(Path(name))
    sys.stdout.flush()
    os._exit(0)  # the peer's threads would not let go


def main() -> int:
    parts = ("openfeature", "openfeature.contrib.provider", "openfeature.contrib.provider.flagd")
    if all(map(importlib.util.find_spec, parts)):
        measure()
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, "-m", "venv", name], check=True)
        python = str(Path(name) / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS], check=True)
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        return subprocess.run([python, "-m", "benchmarks.flags"], check=False, env=environment, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
