"""Python sources: a locked, relocatable virtual environment built by uv, also where there are no dependencies."""

from __future__ import annotations

import sys
from pathlib import Path

from uv import find_uv_bin

from atoll.drivers.builders.recipe import BASE_PATH, BuildRecipe, Step, platform, prefix_mount, program, toml

VERSION = "python-2"
ENTRY_FILES = ("main.py", "app.py", "server.py")
VENV = ".venv"
INTERPRETER = "python"
"""The name in a virtual environment; `python3` may be meant to be the host's, with what is installed there."""


def detect_project(source: Path) -> BuildRecipe | None:
    """How to build *source*, None where it does not say that it is Python."""
    project, requirements = source / "pyproject.toml", source / "requirements.txt"
    return _recipe(source) if project.is_file() or requirements.is_file() else None


def detect_files(source: Path) -> BuildRecipe | None:
    """How to build *source* where it only holds Python files, None where it does not."""
    return _recipe(source) if any(path.is_file() for path in source.glob("*.py")) else None


def detect_command(source: Path, command: tuple[str, ...]) -> BuildRecipe | None:
    """How to build *source* where only its start command says that it is Python; None where that does not."""
    return _recipe(source) if program(command) == INTERPRETER else None


def _recipe(source: Path) -> BuildRecipe:
    uv = find_uv_bin()
    base = Path(sys.base_prefix).resolve()
    interpreter = str(base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
    project = _project(source)
    venv = Step((uv, "venv", "--quiet", "--relocatable", "--python", interpreter, VENV))
    return BuildRecipe(
        kind="python",
        identity=f"{VERSION} {sys.version.split()[0]} {platform()} {base}",
        steps=(venv, *_steps(source, uv, interpreter, packaged=project is not None)),
        command=_command(source, project),
        path=(f"{{app}}/{VENV}/bin", *BASE_PATH.split(":")),
        env=(("VIRTUAL_ENV", f"{{app}}/{VENV}"), ("PYTHONUNBUFFERED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")),
        mounts=prefix_mount(str(base)),
        looked_for=("[project.scripts] with one entry and a [build-system]", *ENTRY_FILES),
    )


def _project(source: Path) -> dict[str, object] | None:
    """The whole pyproject.toml where it declares a project; one that only configures tools is none."""
    path = source / "pyproject.toml"
    whole = toml(path) if path.is_file() else {}
    return whole if isinstance(whole.get("project"), dict) else None


def _steps(source: Path, uv: str, interpreter: str, *, packaged: bool) -> tuple[Step, ...]:
    own = (("UV_PROJECT_ENVIRONMENT", VENV), ("UV_PYTHON", interpreter), ("UV_LINK_MODE", "copy"))
    if packaged:
        lock = () if (source / "uv.lock").is_file() else (Step((uv, "lock"), own),)
        # --locked: a lock that does not fit the project any more would leave out what was added since.
        sync = (uv, "sync", "--locked", "--no-dev", "--no-editable", "--no-progress", "--compile-bytecode")
        return (*lock, Step(sync, own))
    if (source / "requirements.txt").is_file():
        install = (uv, "pip", "install", "--compile-bytecode", "--no-editable", "--no-progress",
                   "--python", f"{VENV}/bin/python", "-r", "requirements.txt")  # fmt: skip
        return (Step(install, own),)
    return ()


def _command(source: Path, project: dict[str, object] | None) -> tuple[str, ...] | None:
    table = (project or {}).get("project")
    scripts = table.get("scripts") if isinstance(table, dict) else None
    # Without a build system uv does not install the project, so that its scripts do not exist.
    if isinstance(scripts, dict) and len(scripts) == 1 and "build-system" in (project or {}):
        return (str(next(iter(scripts))),)
    return next((("python", name) for name in ENTRY_FILES if (source / name).is_file()), None)
