from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.drivers.builders import build, node, python
from atoll.drivers.builders.build import builder
from atoll.drivers.builders.recipe import BuildRecipe, json_object, procfile, shell, toml
from atoll.errors import Refused, Unavailable


@pytest.mark.parametrize(
    ("command", "script"),
    [
        ("python main.py", "exec python main.py"),
        (" python  main.py ", "exec python  main.py"),
        ("gunicorn -b 0.0.0.0:${PORT} app:app", "exec gunicorn -b 0.0.0.0:${PORT} app:app"),
        ("python -c 'a; b'", "exec python -c 'a; b'"),
        ('sh -c "a && b"', 'exec sh -c "a && b"'),
        ("A=1 B='2 3' node x", "A=1 B='2 3' exec node x"),
        ("a && b", "a && b"),
        ("a | b", "a | b"),
        ("a > b", "a > b"),
        ("'a' ; b", "'a' ; b"),
        ("exec a", "exec a"),
    ],
)
def test_a_plain_command_replaces_the_shell(command: str, script: str) -> None:
    assert shell(command) == ("/bin/sh", "-c", script)


@pytest.mark.parametrize(
    "command", ["sh -c 'echo $$ $PPID'", "A=1 sh -c 'echo $$ $PPID'", "sh -c 'echo $$ $PPID ${PORT}' 'a;b'"]
)
def test_the_program_is_the_child_itself(command: str) -> None:
    child = subprocess.Popen(
        shell(command), stdout=subprocess.PIPE, text=True, env={"PORT": "81", "PATH": "/usr/bin:/bin"}
    )
    out, _ = child.communicate(timeout=10)
    assert int(out.split()[0]) == child.pid
    assert child.returncode == 0


@pytest.mark.parametrize("written", ["$PORT", "${PORT}", '"$PORT"', "a:$PORT/b"])
def test_the_port_is_put_in(written: str) -> None:
    done = subprocess.run(shell(f"echo {written}"), env={"PORT": "8123"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == written.strip('"').replace("${PORT}", "8123").replace("$PORT", "8123")


@given(st.text(alphabet="ab=;&'\"$({\\} ", max_size=30))
def test_any_command_is_left_as_it_is_but_for_exec(command: str) -> None:
    script = shell(command)[2]
    assert script.replace("exec ", "", 1) == command.strip() or script == command.strip()


@pytest.mark.parametrize(
    ("content", "command"),
    [
        ("web: a\nworker: b", "exec a"),
        ("# c\n  # d\n\nworker: b: c", "exec b: c"),
        ("\ufeffweb: a", "exec a"),
    ],
)
def test_the_command_of_a_procfile(tmp_path: Path, content: str, command: str) -> None:
    (tmp_path / "Procfile").write_text(content)
    assert procfile(tmp_path) == ("/bin/sh", "-c", command)


@pytest.mark.parametrize("content", ["a: x\nb: y", "", "nothing here", "web:"])
def test_a_procfile_without_web_names_what_it_has(tmp_path: Path, content: str) -> None:
    (tmp_path / "Procfile").write_text(content)
    with pytest.raises(Refused, match="no `web` but") as caught:
        procfile(tmp_path)
    assert "run:" in caught.value.hint


def test_files_that_are_not_what_they_should_be_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x"
    for content, read in (
        (b"[", toml),
        (b"[", json_object),
        (b"[]", json_object),
        (b"\xff", toml),
        (b"[" * 99999, json_object),
    ):
        file.write_bytes(content)
        with pytest.raises(Refused, match="x "):
            read(file)


def test_what_a_python_source_runs(tmp_path: Path) -> None:
    project = '[project]\nname = "a"\n[project.scripts]\nserve = "a:b"\n'
    assert python.detect_project(tmp_path) is None
    (tmp_path / "pyproject.toml").write_text(project)
    found = python.detect_project(tmp_path)
    assert found is not None
    assert found.command is None  # without a build system, uv does not install the script
    assert [step.command[1] for step in found.steps] == ["venv", "lock", "sync"]
    (tmp_path / "pyproject.toml").write_text(project + '[build-system]\nrequires = ["hatchling"]\n')
    (tmp_path / "uv.lock").write_text("")
    found = python.detect_project(tmp_path)
    assert found is not None
    assert found.command == ("serve",)
    assert [step.command[1] for step in found.steps] == ["venv", "sync"]


def test_a_pyproject_that_only_configures_tools_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\n")
    (tmp_path / "app.py").write_text("")
    found = python.detect_project(tmp_path)
    assert found is not None
    assert [step.command[1] for step in found.steps] == ["venv"]
    assert found.command == ("python", "app.py")


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/env{'' if name == 'node' else '-' + name}")


def steps(source: Path, package: str) -> list[str]:
    (source / "package.json").write_text(package)
    found = node.detect(source)
    assert found is not None
    return [" ".join(step.command[1:3]) for step in found.steps]


@pytest.mark.usefixtures("tools")
def test_the_steps_of_a_node_source(tmp_path: Path) -> None:
    assert steps(tmp_path, "{}") == []
    assert steps(tmp_path, '{"scripts": {"build": "x"}}') == ["run build"]
    with pytest.raises(Refused, match=r"has dependencies but no package-lock\.json"):
        steps(tmp_path, '{"dependencies": {"a": "1"}}')
    (tmp_path / "package-lock.json").write_text("{}")
    assert steps(tmp_path, '{"dependencies": {"a": "1"}}') == ["ci --omit=dev"]
    assert steps(tmp_path, '{"devDependencies": {"a": "1"}}') == []
    built = '{"devDependencies": {"a": "1"}, "scripts": {"build": "x"}}'
    assert steps(tmp_path, built) == ["ci --include=dev", "run build", "prune --omit=dev"]


@pytest.mark.usefixtures("tools")
@pytest.mark.parametrize(
    ("package", "command"),
    [
        ('{"scripts": {"start": "node x"}}', ("/bin/sh", "-c", "exec node x")),
        ('{"main": "m.js"}', ("node", "m.js")),
        ('{"main": "none.js"}', ("node", "index.js")),
        ('{"main": "a\\u0000b", "scripts": []}', ("node", "index.js")),
    ],
)
def test_what_a_node_source_runs(tmp_path: Path, package: str, command: tuple[str, ...]) -> None:
    for name in ("m.js", "index.js", "package.json"):
        (tmp_path / name).write_text(package)
    found = node.detect(tmp_path)
    assert found is not None
    assert found.command == command


def test_a_source_needs_node_only_where_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "script.py").write_text("")
    with pytest.raises(Unavailable, match="node is not installed"):
        builder(tmp_path / "artifacts", tmp_path / "logs").digest(tmp_path, "x")
    (tmp_path / "requirements.txt").write_text("")
    assert builder(tmp_path / "artifacts", tmp_path / "logs").digest(tmp_path, "x")


def test_a_source_that_nobody_can_start_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    source = tmp_path / "s"
    source.mkdir()
    (source / "x.txt").write_text("")
    for name, looked in (("x.txt", "package.json"), ("lib.py", "main.py")):
        (source / name).write_text("")
        with pytest.raises(Refused, match="says how to start it") as caught:
            builder(tmp_path / "artifacts", tmp_path / "logs").digest(source, None)
        assert looked in caught.value.message
        assert "`run: python main.py`" in caught.value.hint


@pytest.mark.parametrize(
    ("run", "kind"),
    [
        ("python src/app.py", "python"),
        ("A=1 python -m app", "python"),
        ("A='x y' python -m app", "python"),
        ("python3 src/app.py", "plain"),  # the host's, with what is installed there
        ("./python", "plain"),
        ("node src/app.js", "plain"),
    ],
)
def test_a_source_whose_files_are_further_down_is_what_its_command_says(tmp_path: Path, run: str, kind: str) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "app.py").write_text("")
    assert build._recipe(tmp_path, run).kind == kind
    (tmp_path / "Procfile").write_text(f"web: {run}\n")
    assert build._recipe(tmp_path, None).kind == kind


def test_what_nobody_can_start_is_told_in_its_own_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "package.json").write_text("{}")
    monkeypatch.setattr(build, "DETECTORS", (lambda _: BuildRecipe("node", "x"),))
    with pytest.raises(Refused) as caught:
        builder(tmp_path / "artifacts", tmp_path / "logs").digest(tmp_path / "s", None)
    assert "`run: node server.js`" in caught.value.hint
