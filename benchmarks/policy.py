"""
How soon a changed policy acts: the time limit of a call is edited and applied, while calls go on.

    python -m benchmarks.policy [EDITS]

The callee takes 3 ms. The limit goes back and forth between 1 ms (every call is cut off) and 30 s (every call passes),
so each answer shows which of the two was in force. Counted from the receipt of `apply` to the end of the first answer
under the new policy, which includes that call itself.
"""

from __future__ import annotations

import sys
import time

from benchmarks.figures import heading, percentile, single, spread
from benchmarks.running import System, running, until
from benchmarks.watching import StatusWatch

from atoll import wire
from atoll.client import Client

EDITS = 100
SERVICES = """
  web:
    source: app
    run: python3 main.py
    health: /healthz
    routes: [/]
    calls:
      orders: {{timeout: {timeout}, retries: 0, breaker: {{consecutive: 1000}}}}
  orders:
    source: app
    run: python3 main.py
    health: /healthz
"""
LIMITS = (("1ms", 504), ("30s", 200))


def edit(system: System, client: Client, watch: StatusWatch, timeout: str, status: int) -> tuple[float, float]:
    """Milliseconds until `apply` accepted it, and from then to the first answer that shows it."""
    system.write(SERVICES.format(timeout=timeout))
    request = wire.ApplyRequest(system.file.read_text(), system.file.name, str(system.directory))
    watch.answers.clear()
    began = time.monotonic()
    receipt = client.apply(request)
    accepted = time.monotonic()
    assert receipt.change is not None
    shown = until(
        lambda: next((end for _, end, found in list(watch.answers) if found == status), None), what=f"a {status}"
    )
    list(client.wait(receipt.change.number, pause=0.01))
    until(lambda: [found for _, _, found in watch.answers[-5:]] == [status] * 5, what=f"only {status}")
    return (accepted - began) * 1000, max(0.0, (shown - accepted) * 1000)


def main(edits: int = EDITS) -> None:
    with running() as system:
        system.source()
        system.write(SERVICES.format(timeout="30s"))
        system.run("up", "--detach")
        caller = f"/proc/{system.instances('web')[0]['pid']}/ns/net"
        heading(f"policy: {edits} edits of a time limit, from the receipt of `apply` to live traffic")
        accepting, acting = [], []
        with StatusWatch(caller, "orders", "/slow?0.003", clients=2) as watch, Client(system.places.socket) as client:
            until(lambda: len(watch.answers) > 20, what="answers")
            for number in range(edits):
                accept, act = edit(system, client, watch, *LIMITS[number % 2])
                accepting.append(accept)
                acting.append(act)
        spread("apply, from the request to its receipt", accepting, "ms")
        spread("from the receipt to the first answer under the new limit", acting, "ms")
        single("p50, p90, p95", ", ".join(f"{percentile(acting, share):.1f} ms" for share in (0.5, 0.9, 0.95)))
        single("p99 of that", f"{percentile(acting, 0.99):.1f} ms", "50 ms")
        single("broken connections meanwhile", len(watch.failed), "0")


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
