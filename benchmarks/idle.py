"""
What the platform takes while nothing happens: the example shop, idle.

    python -m benchmarks.idle [SECONDS]
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

from benchmarks.figures import heading, single
from benchmarks.running import ROOT, System, consumed, running

SECONDS = 60
SETTLE = 10
SKIP = shutil.ignore_patterns(".atoll", "node_modules", "__pycache__", ".venv")


def resident(pid: int) -> float:
    """Megabytes that a process has in memory, libraries that it shares with others included."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _processes(system: System) -> dict[str, int]:
    proxies = {
        f"{name} Envoy": int(json.loads((system.places.run / f"{name}.envoy.json").read_text())[0]["pid"])
        for name in ("gateway", "mesh")
    }
    return {"control plane": system.control_plane(), **proxies}


def main(seconds: int = SECONDS) -> None:
    with running() as system:
        shutil.copytree(ROOT / "examples" / "shop", system.directory, dirs_exist_ok=True, ignore=SKIP)
        system.file.write_text(re.sub(r"listen: \d+", f"listen: {system.port}", system.file.read_text()))
        system.run("up", "--detach")
        time.sleep(SETTLE)
        heading(f"idle: the example shop, {seconds} s without a request")
        processes = _processes(system)
        before = {name: consumed(pid) for name, pid in processes.items()}
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        for name, pid in processes.items():
            share = (consumed(pid) - before[name]) / took
            ours = name == "control plane"
            single(f"{name}: memory", f"{resident(pid):.1f} MB", "90 MB" if ours else "")
            single(f"{name}: share of one core", f"{share:.2%}", "1 %" if ours else "")


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:]))
