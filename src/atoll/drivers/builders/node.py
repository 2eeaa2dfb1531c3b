"""Node.js sources: `npm ci`, the build script, and the start script without npm in between."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from atoll.drivers.builders.recipe import BASE_PATH, BuildRecipe, Step, json_object, platform, prefix_mount, shell
from atoll.errors import Refused, Unavailable

VERSION = "node-2"
ENTRY_FILES = ("server.js", "index.js", "main.js", "app.js")
LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
_QUIET = ("--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
"""No word that is no reason: of what fails only the first and the last lines are shown."""


def detect(source: Path) -> BuildRecipe | None:
    """How to build *source*, None where it is not a Node.js package."""
    manifest = source / "package.json"
    if not manifest.is_file():
        return None
    found = shutil.which("node")
    if found is None:
        raise Unavailable("node is not installed, but a source needs it", hint="apt-get install nodejs npm")
    package = json_object(manifest)
    node = Path(found).resolve()
    mounts = prefix_mount(_shown(node, source))
    alone = " alone" if mounts == (str(node),) else ""
    return BuildRecipe(
        kind="node",
        identity=f"{VERSION} {node} {node.stat().st_mtime_ns} {platform()}{alone}",
        steps=_steps(source, package),
        command=_command(source, package),
        path=("{app}/node_modules/.bin", str(node.parent), *BASE_PATH.split(":")),
        env=(("NODE_ENV", "production"),),
        mounts=mounts,
        looked_for=("scripts.start", "main", *ENTRY_FILES),
    )


def _shown(node: Path, source: Path) -> str:
    """
    What a sandbox has to see of this Node.js: its installation, or the program alone, which needs nothing else.

    What is two directories above the program may be anything: for `~/bin/node` it is a home. Raises `errors.Refused`
    where the program is no whole Node.js but leads to one, as version managers have it.
    """
    prefix = node.parent.parent
    if prefix_mount(str(prefix)) == () or (_is_installation(prefix, node) and not _is_private(prefix, source)):
        return str(prefix)
    if node.name != "node" or _is_script(node):
        raise Refused(
            f"node is {node}, which only leads to an installation of Node.js, so that no sandbox can be given it",
            hint="put the `bin` directory of the installation itself first in PATH, or: apt-get install nodejs npm",
        )
    return str(node)


def _is_installation(prefix: Path, node: Path) -> bool:
    parts = (prefix / "lib" / "node_modules", prefix / "include" / "node")
    return node.parent == prefix / "bin" and (prefix / "bin" / "node").is_file() and any(p.is_dir() for p in parts)


def _is_private(prefix: Path, source: Path) -> bool:
    """Whether people keep other things there: it is or holds a home, what programs keep in one, or the source."""
    homes = {Path(user.pw_dir) for user in pwd.getpwall()} | {Path(os.environ.get("HOME", "/")).resolve()}
    own = (source.resolve(), *homes, *(home / ".local" for home in homes))
    return prefix.parent.name == "home" or any(place.is_relative_to(prefix) for place in own)


def _is_script(node: Path) -> bool:
    with node.open("rb") as file:
        return file.read(2) == b"#!"


def _steps(source: Path, package: dict[str, object]) -> tuple[Step, ...]:
    """With a build script, everything is installed, built, and what only building needed taken out again."""
    builds = _script(package, "build") is not None
    needed = [key for key in ("dependencies", "optionalDependencies") if package.get(key)]
    if builds and package.get("devDependencies"):
        needed.append("devDependencies")
    if not needed and not builds:
        return ()
    npm = shutil.which("npm")
    if npm is None:
        raise Unavailable("npm is not installed, but a source needs it", hint="apt-get install npm")
    if needed and not any((source / lock).is_file() for lock in LOCKS):
        raise Refused(
            f"{source} has {needed[0]} but no package-lock.json", hint="run `npm install` there and commit it"
        )
    build = (Step((npm, "run", "build")),) if builds else ()
    if "devDependencies" not in needed:
        return (*((Step((npm, "ci", "--omit=dev", *_QUIET)),) if needed else ()), *build)
    return (Step((npm, "ci", "--include=dev", *_QUIET)), *build, Step((npm, "prune", "--omit=dev", *_QUIET)))


def _script(package: dict[str, object], name: str) -> str | None:
    scripts = package.get("scripts")
    script = scripts.get(name) if isinstance(scripts, dict) else None
    return script if isinstance(script, str) and script.strip() else None


def _command(source: Path, package: dict[str, object]) -> tuple[str, ...] | None:
    start = _script(package, "start")
    if start is not None:
        return shell(start)
    main = package.get("main")
    names = (main, *ENTRY_FILES) if isinstance(main, str) and "\0" not in main else ENTRY_FILES
    return next((("node", name) for name in names if (source / name).is_file()), None)
