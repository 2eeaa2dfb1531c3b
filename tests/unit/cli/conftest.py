from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from atoll.cli.main import main
from atoll.server import settings
from atoll.server.api.app import app


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return SimpleNamespace(**msgspec.json.decode(self.out))

    @property
    def items(self):
        return [SimpleNamespace(**one) for one in msgspec.json.decode(self.out)]

    @property
    def each(self):
        return [SimpleNamespace(**msgspec.json.decode(line)) for line in self.out.splitlines()]


@pytest.fixture
def here(scene, tmp_path, monkeypatch) -> Path:
    """A directory with the scene's file and its sources, as the current one."""
    directory = tmp_path / "shop"
    directory.mkdir()
    (directory / "atoll.yaml").write_text(scene.text)
    for name in scene.system.services:
        (directory / name).mkdir()
        (directory / name / "main.py").write_text("print()\n")
    monkeypatch.chdir(directory)
    monkeypatch.setattr(settings, "_run_root", lambda: tmp_path / "run")
    scene.directory = directory
    return directory


@pytest.fixture
def control_plane(here, scene, served):
    """A control plane without an engine: changes end as `scene.outcome` says, at once."""
    scene.outcome = ("done", "")
    places = settings.settings(here / ".atoll")
    places.run.mkdir(parents=True)
    return served(lambda: app(scene.open()), uds=places.socket)


@pytest.fixture
def atoll(here, monkeypatch, capsys) -> Callable[..., Said]:
    def run(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["atoll", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def unwell(here, scene, served):
    """A control plane whose status fails with the given error."""

    def serve(error: Exception):
        async def broken():
            raise error

        places = settings.settings(here / ".atoll")
        places.run.mkdir(parents=True)
        return served(lambda: app(replace(scene.open(), snapshot=broken)), uds=places.socket)

    return serve
