"""
All benchmarks, or those that are named, one after the other.

    python -m benchmarks [NAME...]

Each also runs alone and then takes how often: `python -m benchmarks.hop 9`.
"""

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
    chosen = sys.argv[1:] or NAMES
    if not {*chosen} <= {*NAMES}:
        print(f"{__doc__}\nThey are {', '.join(NAMES)}.".strip())
        return 0 if chosen == ["--help"] else 2
    failed = [n for n in chosen if subprocess.run([sys.executable, "-m", f"benchmarks.{n}"], check=False).returncode]
    if failed:
        print(f"\ndid not come to an end: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
