from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from atoll.drivers.builders import build
from atoll.drivers.builders.build import LocalBuilder, builder
from atoll.drivers.builders.recipe import BuildRecipe, Step
from atoll.errors import Failed


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    directory.mkdir()
    (directory / "run.sh").write_text("#!/bin/sh\necho hello $PORT\n")
    (directory / "run.sh").chmod(0o755)
    return directory


@pytest.fixture
def builds(tmp_path: Path) -> LocalBuilder:
    return builder(tmp_path / "artifacts", tmp_path / "logs")


def script(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Every source is built by these lines of shell."""
    steps = tuple(Step(("/bin/sh", "-c", line)) for line in lines)
    recipe = BuildRecipe(kind="test", identity="test", steps=steps, path=("/usr/bin", "/bin"))
    monkeypatch.setattr(build, "DETECTORS", (lambda _: recipe,))


def left(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "artifacts").iterdir()) if (tmp_path / "artifacts").exists() else []


def ignore(_: str) -> None:
    pass


async def test_a_build_is_found_again_and_sealed(builds: LocalBuilder, source: Path, tmp_path: Path) -> None:
    made = await builds.build(source, "./run.sh", progress=ignore)
    assert not made.cached
    assert made.digest == builds.digest(source, "./run.sh")
    assert Path(made.path).stat().st_mode & 0o777 == 0o555
    assert (Path(made.path) / "run.sh").stat().st_mode & 0o777 == 0o555
    again = await builder(tmp_path / "artifacts", tmp_path / "logs").build(source, "./run.sh", progress=ignore)
    assert again.cached
    assert again.path == made.path
    assert (await builds.build(source, "./other.sh", progress=ignore)).digest != made.digest


async def test_two_builds_of_one_digest_run_once(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, f"echo once >> {tmp_path}/count")
    made = await asyncio.gather(*(builds.build(source, "x", progress=ignore) for _ in range(5)))
    assert (tmp_path / "count").read_text() == "once\n"
    assert sorted(a.cached for a in made) == [False, True, True, True, True]


async def test_a_failing_build_shows_the_last_lines_and_leaves_nothing(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, "mkdir -p a/b && touch a/b/c && chmod 500 a/b a && echo the reason && exit 3")
    with pytest.raises(Failed, match="the reason"):
        await builds.build(source, "x", progress=ignore)
    assert left(tmp_path) == []
    script(monkeypatch, "true")
    assert await builds.build(source, "x", progress=ignore)


async def test_a_cancelled_build_leaves_nothing_and_can_be_repeated(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, "echo begun; exec sleep 600")
    begun = asyncio.Event()
    task = asyncio.create_task(
        builds.build(source, "x", progress=lambda line: begun.set() if line == "begun" else None)
    )
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(tmp_path) == []
    script(monkeypatch, "true")
    assert not (await asyncio.wait_for(builds.build(source, "x", progress=ignore), 20)).cached


async def test_a_copy_that_is_cancelled_is_waited_for(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, begun, gate = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    copied = build.copy

    def held(*args: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        gate.wait(20)
        copied(*args)

    monkeypatch.setattr(build, "copy", held)
    task = asyncio.create_task(builds.build(source, "x", progress=ignore))
    await asyncio.wait_for(begun.wait(), 20)
    task.cancel()
    _, pending = await asyncio.wait((task,), timeout=0.05)
    assert pending
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left(tmp_path) == []


async def test_a_source_that_changes_while_it_is_copied_is_no_artifact(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = build.copy

    def meanwhile(*args: object) -> None:
        (source / "run.sh").write_text("other")
        copied(*args)

    monkeypatch.setattr(build, "copy", meanwhile)
    with pytest.raises(Failed, match="changed while"):
        await builds.build(source, "x", progress=ignore)
    assert left(tmp_path) == []


async def test_sweeping_takes_leftovers_and_spares_what_is_kept_or_being_built(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, old = [await builds.build(source, run, progress=ignore) for run in ("a", "b")]
    leftover = tmp_path / "artifacts/.0123.1.2/app/d"
    leftover.mkdir(parents=True)
    leftover.chmod(0o500)
    script(monkeypatch, "echo begun; while [ ! -e go ] && [ ! -e ../../go ]; do sleep 0.01; done")
    begun = asyncio.Event()
    task = asyncio.create_task(
        builds.build(source, "x", progress=lambda line: begun.set() if line == "begun" else None)
    )
    await asyncio.wait_for(begun.wait(), 20)
    await builds.sweep({kept.digest})
    (tmp_path / "artifacts/go").touch()
    made = await asyncio.wait_for(task, 20)
    (tmp_path / "artifacts/go").unlink()
    assert left(tmp_path) == sorted((kept.digest, made.digest))
    assert builds.find(old.digest) is None
    assert builds.find(kept.digest) == kept


async def test_artifacts_may_be_moved_and_damaged_ones_are_built_anew(
    builds: LocalBuilder, source: Path, tmp_path: Path
) -> None:
    made = await builds.build(source, "x", progress=ignore)
    moved = (tmp_path / "artifacts").rename(tmp_path / "moved")
    found = builder(moved, tmp_path / "logs").find(made.digest)
    assert found is not None
    assert found.path == str(moved / made.digest / "app")
    assert builds.find(made.digest) is None
    (moved / made.digest / "artifact.json").chmod(0o644)
    (moved / made.digest / "artifact.json").write_text("{")
    assert builder(moved, tmp_path / "logs").find(made.digest) is None
    assert not (await builder(moved, tmp_path / "logs").build(source, "x", progress=ignore)).cached


async def test_an_artifact_whose_interpreter_is_gone_is_not_found(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").mkdir()
    recipe = BuildRecipe(kind="test", identity="test", mounts=(str(tmp_path / "python"),))
    monkeypatch.setattr(build, "DETECTORS", (lambda _: recipe,))
    made = await builds.build(source, "x", progress=ignore)
    assert builds.find(made.digest) is not None
    (tmp_path / "python").rmdir()
    assert builds.find(made.digest) is None
    (tmp_path / "python").touch()  # a program alone
    assert builds.find(made.digest) is not None


async def test_a_directory_that_cannot_be_written_fails_with_the_reason(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failed, match="could not be built"):
        await builder(tmp_path / "file", tmp_path / "logs").build(source, "x", progress=ignore)


async def test_what_a_build_makes_is_readable_whatever_the_umask(builds: LocalBuilder, source: Path) -> None:
    old = os.umask(0o077)
    try:
        made = await builds.build(source, "x", progress=ignore)
    finally:
        os.umask(old)
    assert Path(made.path).parent.stat().st_mode & 0o777 == 0o755
    assert Path(made.path).stat().st_mode & 0o777 == 0o555


async def test_all_that_a_failed_build_said_is_kept_and_named(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, "seq 1000; exit 1")
    with pytest.raises(Failed) as caught:
        await builds.build(source, "./run.sh", progress=ignore)
    kept = tmp_path / "logs" / f"build-{builds.digest(source, './run.sh')[:12]}.txt"
    assert caught.value.message.endswith(f"\nall that it said is in {kept}")
    assert kept.read_text().split() == [str(n) for n in range(1, 1001)]
    assert left(tmp_path) == []


async def test_only_the_newest_failures_are_kept(
    builds: LocalBuilder, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FAILURES_KEPT", 2)
    script(monkeypatch, "echo no; exit 1")
    said = []
    for number in range(4):
        (source / "more").write_text(str(number))
        with pytest.raises(Failed) as caught:
            await builds.build(source, "./run.sh", progress=ignore)
        said.append(Path(caught.value.message.rpartition(" ")[2]))
    assert [path.exists() for path in said] == [False, False, True, True]
