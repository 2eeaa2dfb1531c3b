"""Python sources: a locked, relocatable virtual environment built by uv, also where there are no dependencies."""

from __future__ import annotations

import sys
from pathlib import Path

from uv import find_uv_bin

from atoll.drivers.builders.recipe import BASE_PATH, BuildRecipe, Step, platform, prefix_mount, toml

VERSION = "python-1"
ENTRY_FILES = ("main.py", "app.py", "server.py")
VENV = ".venv"


def detect(source: Path) -> BuildRecipe | None:
    """How to build *source*, None where it is not Python."""
    project, requirements = source / "pyproject.toml", source / "requirements.txt"
    if not (project.is_file() or requirements.is_file() or any(source.glob("*.py"))):
        return None
    uv = find_uv_bin()
    base = Path(sys.base_prefix).resolve()
    interpreter = str(base / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")
    steps = [Step((uv, "venv", "--quiet", "--relocatable", "--python", interpreter, VENV))]
    own = (("UV_PROJECT_ENVIRONMENT", VENV), ("UV_PYTHON", interpreter), ("UV_LINK_MODE", "copy"))
    if project.is_file():
        if not (source / "uv.lock").is_file():
            steps.append(Step((uv, "lock"), own))
        sync = (uv, "sync", "--frozen", "--no-dev", "--no-editable", "--no-progress", "--compile-bytecode")
        steps.append(Step(sync, own))
    elif requirements.is_file():
        python = f"{VENV}/bin/python"
        steps.append(
            Step((uv, "pip", "install", "--compile-bytecode", "--python", python, "-r", "requirements.txt"), own)
        )
    return BuildRecipe(
        kind="python",
        identity=f"{VERSION} {sys.version.split()[0]} {platform()} {base}",
        steps=tuple(steps),
        command=_command(source, project),
        path=(f"{{app}}/{VENV}/bin", *BASE_PATH.split(":")),
        env=(("VIRTUAL_ENV", f"{{app}}/{VENV}"), ("PYTHONUNBUFFERED", "1"), ("PYTHONDONTWRITEBYTECODE", "1")),
        mounts=prefix_mount(str(base)),
        looked_for=("[project.scripts] with one entry", *ENTRY_FILES),
    )


def _command(source: Path, project: Path) -> tuple[str, ...] | None:
    if project.is_file():
        table = toml(project).get("project")
        scripts = table.get("scripts") if isinstance(table, dict) else None
        if isinstance(scripts, dict) and len(scripts) == 1:
            return (str(next(iter(scripts))),)
    for name in ENTRY_FILES:
        if (source / name).is_file():
            return ("python", name)
    return None
