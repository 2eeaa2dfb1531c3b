"""
Flags through the whole system: how long a change takes to 50 clients, and an OFREP evaluation.

    python -m benchmarks.flag_changes

The clients are `FlagClient`s that ask at an instance's outlet, so through Envoy, the control plane's socket and its
store. A change counts from the command's request to the control plane until the client has it. Beside it, in turn, a
reader of the same document that does without the stream: `FlagClient` on a file (four looks a second).
"""

from __future__ import annotations

import http.client
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from benchmarks.figures import heading, single, spread
from benchmarks.running import System, running, until

from atoll import wire
from atoll.client import Client
from atoll.kit.flags import FlagClient, Notice

CLIENTS, CHANGES, QUESTIONS = 50, 30, 2000
META = {"owner": "bench", "kind": "ops"}
FLAG = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off", "metadata": META}
TARGETED = FLAG | {"targeting": {"if": [{"ends_with": [{"var": "email"}, "@corp.com"]}, "on"]}}
FILE = "  web: {source: app, runtime: process, health: /healthz, routes: [/], flags: all}\n"


def main() -> int:
    with running() as system, tempfile.TemporaryDirectory() as name:
        system.source()
        system.write(FILE)
        system.run("up", "--detach")
        url = outlet(system)
        with Client(system.places.socket) as control:
            many = {f"f{number}": FLAG for number in range(99)} | {"targeted": TARGETED}
            control.write_flags(wire.FlagWrite(json.dumps({"flags": many}), "bench", ""))
            heading(f"Flags through Envoy and the control plane, {len(many)} flags")
            changes(control, url, Path(name))
            evaluations(url)
    return 0


def outlet(system: System) -> str:
    """Where an instance of web asks for flags."""
    pid = system.instances("web")[0]["pid"]
    environment = dict(x.split("=", 1) for x in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in x)
    return environment["FLAGS_URL"]


def changes(control: Client, url: str, directory: Path) -> None:
    file = directory / "flags.json"
    file.write_text(control.flag_document().text)
    groups = {
        f"{CLIENTS} clients through the mesh": [FlagClient(url) for _ in range(CLIENTS)],
        f"{CLIENTS} clients on a file": [FlagClient(file) for _ in range(CLIENTS)],
    }
    until(lambda: all(one.ready(10) for clients in groups.values() for one in clients), seconds=60)
    times: dict[str, list[float]] = {name: [] for name in groups}
    for turn in range(CHANGES):
        variant = "on" if turn % 2 == 0 else "off"
        for name, clients in groups.items():
            mesh = clients is next(iter(groups.values()))
            times[name].append(one_change(control, clients, variant, None if mesh else file))
    for name, taken in times.items():
        spread(f"a change is with all of {name} after", taken, "ms", "<= 1000")
    mesh, on_file = (median(taken) for taken in times.values())
    single("file, times the mesh", f"{on_file / mesh:.1f}")
    for clients in groups.values():
        for one in clients:
            one.close()


def one_change(control: Client, clients: list[FlagClient], variant: str, file: Path | None) -> float:
    """Milliseconds from the request until the last client has it."""
    arrived: list[float] = []

    def hear(notice: Notice) -> None:
        if notice.kind == "changed":
            arrived.append(time.perf_counter())

    ends = [one.subscribe(hear) for one in clients]
    began = time.perf_counter()
    if file is None:
        control.change_flag(wire.FlagChange("f7", "set", "bench", "", variant))
    else:
        document = json.loads(file.read_text())
        document["flags"]["f7"]["defaultVariant"] = variant
        new = file.with_suffix(".new")
        new.write_text(json.dumps(document))
        new.replace(file)
    until(lambda: len(arrived) >= len(clients), seconds=60)
    if not all(one.boolean("f7", variant != "on") is (variant == "on") for one in clients):
        sys.exit("a client did not get a change")
    for end in ends:
        end()
    return (max(arrived) - began) * 1000


def evaluations(url: str) -> None:
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port or 80)
    body = json.dumps({"context": {"targetingKey": "u", "email": "ann@corp.com"}})
    for name, path in (("one flag", "/targeted"), ("all flags", "")):
        taken = []
        for _ in range(QUESTIONS if path else QUESTIONS // 20):
            began = time.perf_counter()
            connection.request("POST", f"/ofrep/v1/evaluate/flags{path}", body, {"content-type": "application/json"})
            response = connection.getresponse()
            said = json.loads(response.read())
            taken.append((time.perf_counter() - began) * 1000)
            if response.status != 200 or (path and said["variant"] != "on"):
                sys.exit(f"OFREP answered {response.status}: {said}")
        spread(f"OFREP, {name}, one after the other on one connection", taken, "ms")


if __name__ == "__main__":
    sys.exit(main())
