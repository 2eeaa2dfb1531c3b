"""
What the hop costs: Atoll's proxies against a minimal Envoy configuration written by hand, and against no proxy.

    python -m benchmarks.hop [ROUNDS]

All proxies dial the same instance from the same network namespace, with the same number of worker threads, and are
measured in turns, each warmed up before. Two processes of one configuration differ too, by a tenth and more, for as
long as they live: so each round has new ones, and the minimal configuration runs twice, to show how far two of a kind
differ. A ratio is the median of those of the rounds, with its 95 % interval (bootstrap). The processor time per request
is the figure that a busy machine disturbs least.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.figures import heading, interval
from benchmarks.running import System, consumed, running, until

from atoll.mesh.process import binary

PROGRAMS = Path(__file__).parent / "programs"
ROUNDS = 15
SECONDS = 2.0
WARMING = 1.0
CONNECTIONS = (1, 32)
OURS = "atoll"
PEERS = ("minimal Envoy", "another alike")
PEER_PORT = 15998
SERVICES = """
  web:
    source: quick
    run: python3 main.py
    routes: [/]
    calls: [orders]
  orders:
    source: quick
    run: python3 main.py
"""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests are sent: `netns` is the network namespace of the client, `pid` the proxy's process."""

    name: str
    host: str
    port: int
    authority: str
    netns: str | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class Result:
    rps: float
    p50: float
    p99: float
    cpu: float
    errors: int


def minimal(port: int, backend: tuple[str, int], listen_in: str | None, dial_from: str | None) -> dict[str, object]:
    """One listener, one route, one cluster: what somebody writes who needs nothing but the hop."""
    hcm = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    manager = {
        "@type": hcm,
        "stat_prefix": "peer",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}]}
            ]
        },
    }
    cluster: dict[str, object] = {
        "name": "app",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "app",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket(*backend)}}]}],
        },
    }
    if dial_from is not None:
        cluster["upstream_bind_config"] = {"source_address": _socket("0.0.0.0", 0, dial_from)["socket_address"]}
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    listener = {"name": "peer", "address": _socket("127.0.0.1", port, listen_in), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _socket(ip: str, port: int, netns: str | None = None) -> dict[str, dict[str, object]]:
    inside = {"network_namespace_filepath": netns} if netns is not None else {}
    return {"socket_address": {"address": ip, "port_value": port, **inside}}


@contextmanager
def peer(config: dict[str, object], directory: Path, netns: str | None) -> Iterator[int]:
    """A peer's process, in the network namespace *netns*."""
    path = directory / f"peer-{time.monotonic_ns()}.json"
    path.write_text(json.dumps(config))
    enter = ["nsenter", f"--net={netns}", "--"] if netns is not None else []
    command = [*enter, str(binary()), "--config-path", str(path), "--concurrency", "1", "--disable-hot-restart"]
    process = subprocess.Popen([*command, "--log-level", "error"], stdin=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def load(target: Target, connections: int, seconds: float) -> Result:
    """Ask as quickly as the answers come."""
    before = consumed(target.pid) if target.pid is not None else 0.0
    found = _wrk(target, connections, seconds) if shutil.which("wrk") else _generator(target, connections, seconds)
    used = consumed(target.pid) - before if target.pid is not None else 0.0
    count = found["requests"]
    return Result(count / found["seconds"], found["p50"], found["p99"], used / count * 1e6, int(found["errors"]))


def _inside(target: Target) -> list[str]:
    return ["nsenter", f"--net={target.netns}", "--"] if target.netns is not None else []


def _wrk(target: Target, connections: int, seconds: float) -> dict[str, float]:
    """Wrk takes whole seconds only; a script of its own prints what it knows as JSON."""
    url = f"http://{target.host}:{target.port}/"
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-H", f"Host: {target.authority}"]
    command = [*_inside(target), "wrk", *options, "-s", str(PROGRAMS / "report.lua"), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def _generator(target: Target, connections: int, seconds: float) -> dict[str, float]:
    where = [target.host, str(target.port), target.authority, str(connections), str(seconds)]
    command = [*_inside(target), sys.executable, str(PROGRAMS / "generator.py"), *where]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


Results = dict[int, dict[str, list[Result]]]


def measure(targets: list[Target], results: Results) -> None:
    """One round: each once with each number of connections."""
    for target in targets:
        until(lambda target=target: _answers(target), what=f"an answer of {target.name}")  # type: ignore[misc]
    for connections in CONNECTIONS:
        for target in targets:
            load(target, connections, WARMING)
            results[connections].setdefault(target.name, []).append(load(target, connections, SECONDS))


def report(results: Results) -> None:
    """The medians of all rounds, and the ratios."""
    print(f"  {'':4} {'':22} {'rps':>8} {'p50 ms':>8} {'p99 ms':>8} {'proxy us/req':>14}   range of rps")
    for connections, by_name in results.items():
        for name, found in by_name.items():
            rps = [r.rps for r in found]
            print(
                f"  c={connections:<3} {name:21} {median(rps):8.0f} {median(r.p50 for r in found):8.3f}"
                f" {median(r.p99 for r in found):8.3f} {median(r.cpu for r in found):8.1f}"
                f" ({min(r.cpu for r in found):.1f})   {min(rps):.0f} to {max(rps):.0f}"
            )
            wrong = sum(r.errors for r in found)
            if wrong:
                print(f"        {wrong} errors")
        first, second = PEERS
        for one, other in ((OURS, first), (OURS, second), (second, first)):
            _ratios(connections, f"{one} / {other}", by_name[one], by_name[other])


def _ratios(connections: int, what: str, ours: list[Result], theirs: list[Result]) -> None:
    """Round by round, since those of a round saw the same machine."""
    pairs = list(zip(ours, theirs, strict=True))
    rps = interval([a.rps / b.rps for a, b in pairs])
    p50 = interval([a.p50 / b.p50 for a, b in pairs])
    p99 = interval([a.p99 / b.p99 for a, b in pairs])
    cpu = interval([a.cpu / b.cpu for a, b in pairs])
    print(f"  c={connections:<3} {what}: rps {rps}, p50 {p50}, p99 {p99}, proxy's time {cpu}")


def _answers(target: Target) -> bool:
    command = [*_inside(target), sys.executable, "-c", _TRY, target.host, str(target.port), target.authority]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


_TRY = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=2)
connection.request("GET", "/", headers={"Host": sys.argv[3]})
sys.exit(connection.getresponse().status != 200)
"""


def renewed(system: System, proxy: str) -> int:
    """End the process of one of Atoll's proxies; returns the one that has taken its place."""
    before = _pid(system, proxy)
    os.kill(before, signal.SIGKILL)
    until(lambda: _pid(system, proxy) != before, what=f"another process of the {proxy}")
    return _pid(system, proxy)


def _pid(system: System, proxy: str) -> int:
    records = json.loads((system.places.run / f"{proxy}.envoy.json").read_text())
    return int(records[0]["pid"])


def main(rounds: int = ROUNDS) -> None:
    if not shutil.which("wrk"):
        print(
            "wrk is not here (apt-get install wrk): a generator in Python asks, and is itself much of what is measured"
        )
    with running() as system:
        quick = system.directory / "quick"
        quick.mkdir()
        shutil.copy(PROGRAMS / "quick.py", quick / "main.py")
        system.write(SERVICES)
        system.run("up", "--detach")
        web, orders = (system.instances(name)[0] for name in ("web", "orders"))
        caller = f"/proc/{web['pid']}/ns/net"
        print("target of the ratios: 0.95 and more of the requests, 1.05 of the times")
        outside = Target(OURS, "127.0.0.1", system.port, "web", None, None)
        inside = Target(OURS, "127.0.0.1", 80, "orders", caller, None)
        compare("hop: through the gateway to a service", system, outside, web["address"], rounds)
        compare("hop: from service to service", system, inside, orders["address"], rounds)


def compare(title: str, system: System, ours: Target, address: str, rounds: int) -> None:
    """
    Measure *ours* beside its peers and beside no proxy at all, all processes new in every round.

    A peer takes requests where ours does. Where that is inside a network namespace, it lives in the fabric like the
    mesh's proxy; where not, it lives outside and dials from the fabric, like the gateway's.
    """
    heading(title)
    ip, port = address.split(":")
    results: Results = {connections: {} for connections in CONNECTIONS}
    for number in range(rounds):
        with ExitStack() as stack:
            pid = renewed(system, "mesh" if ours.netns is not None else "gateway")
            fabric = f"/proc/{_pid(system, 'mesh')}/ns/net"
            lives, dials = (fabric, None) if ours.netns is not None else (None, fabric)
            targets = [replace(ours, name="no proxy", host=ip, port=int(port), netns=fabric), replace(ours, pid=pid)]
            for offset, name in enumerate(PEERS):
                config = minimal(PEER_PORT + offset, (ip, int(port)), ours.netns, dials)
                made = stack.enter_context(peer(config, system.directory, lives))
                targets.append(replace(ours, name=name, port=PEER_PORT + offset, pid=made))
            measure(targets if number % 2 == 0 else targets[::-1], results)
    report(results)


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
