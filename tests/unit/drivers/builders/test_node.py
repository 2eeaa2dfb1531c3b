"""What of this host a Node.js source is shown in its sandbox: the installation, and never somebody's home."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from atoll.drivers.builders import node
from atoll.drivers.builders.build import builder
from atoll.drivers.builders.recipe import BuildRecipe
from atoll.errors import Refused


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "source"
    made.mkdir()
    (made / "package.json").write_text('{"main": "index.js"}')
    (made / "index.js").write_text("")
    return made


def installed(monkeypatch: pytest.MonkeyPatch, program: Path, *parts: str, content: bytes = b"\x7fELF") -> Path:
    """The node of this host, with these directories beside its own."""
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(content)
    for part in parts:
        (program.parent.parent / part).mkdir(parents=True)
    monkeypatch.setattr(shutil, "which", lambda name: str(program) if name == "node" else None)
    return program


def detected(source: Path) -> BuildRecipe:
    found = node.detect(source)
    assert found is not None
    return found


@pytest.mark.parametrize("part", ["lib/node_modules", "include/node"])
def test_an_installation_is_shown_whole(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    program = installed(monkeypatch, tmp_path / "node-22/bin/node", part)
    assert detected(source).mounts == (str(tmp_path / "node-22"),)
    assert str(program.parent) in detected(source).path


def test_of_a_directory_that_is_no_installation_the_program_alone_is_shown(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = installed(monkeypatch, tmp_path / "alice/bin/node")
    found = detected(source)
    assert found.mounts == (str(program),)
    assert str(program.parent) in found.path


@pytest.mark.parametrize("prefix", ["alice", "alice/.local", ".", "home/bob"])
def test_a_home_what_holds_one_and_what_programs_keep_there_is_not_shown(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    """Also where it has what an installation has, as after `npm config set prefix ~`."""
    monkeypatch.setenv("HOME", str(tmp_path / "alice"))
    program = installed(monkeypatch, tmp_path / prefix / "bin/node", "lib/node_modules")
    assert detected(source).mounts == (str(program),)


def test_an_installation_that_holds_the_source_is_not_shown(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = installed(monkeypatch, tmp_path / "bin/node", "lib/node_modules")
    assert detected(source).mounts == (str(program),)


def test_the_whole_host_is_not_shown(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "_is_script", lambda _: False)
    for program in (Path("/opt/node"), Path("/bin/node")):
        assert node._shown(program, source) == str(program)


def test_a_program_of_the_base_system_needs_nothing_more(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/env")
    assert detected(source).mounts == ()
    assert "/usr/bin" in detected(source).path


@pytest.mark.parametrize(("name", "content"), [("node", b"#!/bin/sh\n"), ("shim", b"\x7fELF")])
def test_what_only_leads_to_an_installation_is_refused_with_what_to_do(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: bytes
) -> None:
    installed(monkeypatch, tmp_path / "manager/shims" / name, content=content)
    with pytest.raises(Refused, match="only leads to") as caught:
        node.detect(source)
    assert "PATH" in caught.value.hint


def test_an_artifact_that_showed_too_much_is_built_anew(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is shown is written down with the artifact, so another one must have another digest."""
    program = installed(monkeypatch, tmp_path / "alice/bin/node", "lib/node_modules")
    before = detected(source)
    monkeypatch.setenv("HOME", str(program.parent.parent))
    after = detected(source)
    assert before.mounts != after.mounts
    assert before.identity != after.identity


async def test_what_holds_the_state_is_shown_to_nobody(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, tmp_path / "node-22/bin/node", "lib/node_modules")
    builds = builder(tmp_path / "node-22/system/.atoll/artifacts", tmp_path / "logs")
    with pytest.raises(Refused, match="the state of this system"):
        builds.digest(source, None)
    with pytest.raises(Refused, match="the state of this system"):
        await builds.build(source, None, progress=lambda _: None)
