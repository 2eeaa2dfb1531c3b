"""Node.js sources: `npm ci` where there are dependencies, and the start script without npm in between."""

from __future__ import annotations

import shutil
from pathlib import Path

from atoll.drivers.builders.recipe import BASE_PATH, BuildRecipe, Step, json_object, platform, prefix_mount, shell
from atoll.errors import Refused, Unavailable

VERSION = "node-1"
ENTRY_FILES = ("server.js", "index.js", "main.js", "app.js")


def detect(source: Path) -> BuildRecipe | None:
    """How to build *source*, None where it is not a Node.js package."""
    manifest = source / "package.json"
    if not manifest.is_file():
        return None
    node = shutil.which("node")
    if node is None:
        raise Unavailable("node is not installed, but a source needs it", hint="apt-get install nodejs npm")
    package = json_object(manifest)
    prefix = str(Path(node).resolve().parent.parent)
    return BuildRecipe(
        kind="node",
        identity=f"{VERSION} {Path(node).resolve()} {Path(node).resolve().stat().st_mtime_ns} {platform()}",
        steps=_steps(source, package),
        command=_command(source, package),
        path=("{app}/node_modules/.bin", f"{prefix}/bin", *BASE_PATH.split(":")),
        env=(("NODE_ENV", "production"),),
        mounts=prefix_mount(prefix),
        looked_for=("scripts.start", "main", *ENTRY_FILES),
    )


def _steps(source: Path, package: dict[str, object]) -> tuple[Step, ...]:
    if not package.get("dependencies"):
        return ()
    if not (source / "package-lock.json").is_file():
        raise Refused(
            f"{source} has dependencies but no package-lock.json", hint="run `npm install` there and commit it"
        )
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed, but a source needs it", hint="apt-get install npm")
    return (Step((npm, "ci", "--omit=dev", "--no-audit", "--no-fund")),)


def _command(source: Path, package: dict[str, object]) -> tuple[str, ...] | None:
    scripts = package.get("scripts")
    start = scripts.get("start") if isinstance(scripts, dict) else None
    if isinstance(start, str) and start.strip():
        return shell(start)
    main = package.get("main")
    names = (main, *ENTRY_FILES) if isinstance(main, str) else ENTRY_FILES
    return next((("node", name) for name in names if (source / name).is_file()), None)
