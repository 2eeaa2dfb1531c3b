"""All benchmarks, one after the other; each also runs alone: `python -m benchmarks.hop`."""

from __future__ import annotations

import subprocess
import sys

NAMES = (
    "scale",
    "hop",
    "policy",
    "kills",
    "deploys",
    "control_plane",
    "idle",
    "judging",
    "releases",
    "comparing",
    "flags",
    "flag_changes",
)


def main() -> int:
    """Each in a process of its own, so that none inherits another's memory or threads."""
    failed = [n for n in NAMES if subprocess.run([sys.executable, "-m", f"benchmarks.{n}"], check=False).returncode]
    if failed:
        print(f"\ndid not come to an end: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
