"""
Play with releases: put a good or a bad version of `orders` beside the one that serves, and watch what happens to it.

    python3 play.py failing

While you play, `orders` runs three times and a new version has to pass the judge (the file for it is `play.yaml`, made
from `atoll.yaml`). Visitors ask for quotes meanwhile. `python3 play.py --end` goes back to the shop as it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / ".play" / "orders"
FILE = HERE / "play.yaml"
VERSIONS = {path.stem: path for path in sorted((HERE / "versions").glob("*.py"))}
AS_IT_IS = "    source: services/orders\n"
THREE = "    source: .play/orders\n    instances: 3\n"
STEPS = "steps: [{weight: 25%, for: 30s}, {weight: 50%, for: 30s}], bake: 10s"
COUNTED = "judge: {counts: {quotes: GET /api/quote}}"
JUDGED = f"    release: {{strategy: canary, {STEPS}, {COUNTED}}}\n"
COMPARED = JUDGED.replace("canary", "shadow-then-canary") + "    compare: {share: 50%, for: 20s}\n"
WHAT_IT_ANSWERS = "different"
"""The version of which no rate and no latency tells: its answers have to be compared with those of the one that serves."""
VISITORS = ["--path", "/api/quote?mug=2", "--seconds", "1800"]


def prepare(version: str, release: str) -> None:
    """The source of *version*, and the file that runs it and says how it is released."""
    text = (HERE / "atoll.yaml").read_text()
    if text.count(AS_IT_IS) != 1:
        raise SystemExit("atoll.yaml is not as it was: put `source: services/orders` back into it")
    FILE.write_text(text.replace(AS_IT_IS, THREE + release))
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(HERE / "services" / "orders", SOURCE, ignore=shutil.ignore_patterns("__pycache__"))
    (SOURCE / "main.py").rename(SOURCE / "base.py")
    shutil.copy(VERSIONS[version], SOURCE / "main.py")


def play(atoll: str, version: str, rate: float) -> int:
    """Release *version* under load and watch until it has reached everybody or was taken back."""
    if not _is_played(atoll):
        print("orders runs three times from now on; an order is known to the instance that took it, and to no other")
        prepare("healthy", release="")
        _atoll(atoll, "apply", "--yes")
    compared = version == WHAT_IT_ANSWERS
    prepare(version, COMPARED if compared else JUDGED)
    url = json.loads(_atoll(atoll, "status", "--json", quiet=True))["gateway"]
    load = [sys.executable, str(HERE / "load.py"), "--url", url, "--rate", str(rate), *VISITORS]
    visitors = subprocess.Popen(load, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        print(f"{rate:g} visitors a second ask for a quote; deploying: {_summary(version)}")
        _atoll(atoll, "deploy", "orders")
        _atoll(atoll, "release", "orders", "--reason", f"playing with {version}")
        subprocess.run([atoll, "releases", "orders", "--watch", "--file", str(FILE)], check=False)
    except KeyboardInterrupt:
        print("\nstill on its way: see `atoll releases --watch`, or take it back with `atoll abort orders`")
        return 130
    finally:
        visitors.send_signal(signal.SIGINT)
        told, _ = visitors.communicate()
    if compared:
        _atoll(atoll, "compare", "orders")
    print(f"what the visitors saw:\n{told}")
    return 0


def _summary(version: str) -> str:
    return VERSIONS[version].read_text().splitlines()[0].strip('"')


def _is_played(atoll: str) -> bool:
    services = json.loads(_atoll(atoll, "status", "--json", quiet=True))["services"]
    orders = next((s for s in services if s["name"] == "orders"), None)
    if orders is None:
        raise SystemExit("the shop is not open: make demo")
    return orders["wanted"] > 1


def _atoll(atoll: str, *arguments: str, quiet: bool = False) -> str:
    file = FILE if FILE.exists() else HERE / "atoll.yaml"
    command = [atoll, *arguments, "--file", str(file)]
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE if quiet else None)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout or ""


def end(atoll: str) -> int:
    """The shop as it was."""
    FILE.unlink(missing_ok=True)
    _atoll(atoll, "apply", "--yes")
    shutil.rmtree(SOURCE.parent, ignore_errors=True)
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Release a good or a bad version of orders, and watch.")
    parser.add_argument("version", nargs="?", choices=VERSIONS, help="; ".join(f"{v}: {_summary(v)}" for v in VERSIONS))
    parser.add_argument("--rate", type=float, default=60.0, help="requests per second")
    parser.add_argument("--atoll", default="atoll", help="the command")
    parser.add_argument("--end", action="store_true", help="go back to the shop as it was")
    arguments = parser.parse_args()
    if arguments.end:
        return end(arguments.atoll)
    if arguments.version is None:
        parser.error(f"name a version: {', '.join(VERSIONS)}")
    return play(arguments.atoll, arguments.version, arguments.rate)


if __name__ == "__main__":
    sys.exit(main())
