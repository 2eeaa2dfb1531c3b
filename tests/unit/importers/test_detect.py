from __future__ import annotations

import os
from pathlib import Path

import pytest

from atoll.errors import Refused
from atoll.importers import sources
from atoll.importers.detect import propose
from atoll.model.load import loads

GOLDEN = Path(__file__).parents[2] / "golden" / "importers"
CASES = sorted(GOLDEN.glob("*.in"))


def unpack(text: str, directory: Path) -> Path:
    """`-- path --` begins a file, as in the txtar format."""
    directory.mkdir()
    for part in text.removeprefix("-- ").split("\n-- "):
        path, _, content = part.partition(" --\n")
        target = directory / path.strip().removesuffix(" --")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content + "\n" * (not content.endswith("\n")))
    return directory


def told(directory: Path) -> str:
    try:
        proposal = propose(directory)
    except Refused as error:
        return f"Refused: {error.message}\nhint: {error.hint}\n".replace(str(directory), "DIRECTORY")
    loads(proposal.text, file="atoll.yaml", directory=str(directory))
    return proposal.text + "".join(f"! {note}\n" for note in proposal.notes)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_a_directory_leads_to_its_proposal(case: Path, tmp_path: Path) -> None:
    found = told(unpack(case.read_text(), tmp_path / "the_shop"))
    golden = case.with_suffix(".out")
    if os.environ.get("ATOLL_GOLDEN") == "write":
        golden.write_text(found)
    assert found == golden.read_text()


def test_a_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_bytes(b"services:\n  web: {build: \xff}\n")
    with pytest.raises(Refused, match=r"compose\.yaml:2: a byte that is not UTF-8"):
        propose(tmp_path)


def test_a_huge_procfile_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_bytes(b"#" * (2 * 1024 * 1024))
    with pytest.raises(Refused, match="larger than"):
        propose(tmp_path)


def test_the_gateway_leads_to_whom_nobody_calls(tmp_path: Path) -> None:
    case = "-- clock/main.py --\n-- greeter/main.py --\nurlopen('http://clock/')\n"
    proposal = propose(unpack(case, tmp_path / "d"))
    system = loads(proposal.text, file="atoll.yaml", directory=str(tmp_path / "d"))
    assert [name for name, service in system.services.items() if service.routes] == ["greeter"]
    assert any("leads to greeter only, judged by who calls whom" in note for note in proposal.notes)


def test_the_same_directory_is_told_the_same(tmp_path: Path) -> None:
    directory = unpack((GOLDEN / "sources.in").read_text(), tmp_path / "d")
    assert propose(directory) == propose(directory)


def test_a_directory_that_may_not_be_looked_into_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = unpack((GOLDEN / "sources.in").read_text(), tmp_path / "d")
    look = sources.source_at

    def forbidden(path: Path) -> sources.Source | None:
        if path.name in barred:
            raise PermissionError(13, "Permission denied", str(path))
        return look(path)

    monkeypatch.setattr(sources, "source_at", forbidden)
    barred = {"orders"}
    assert "orders:" not in propose(directory).text
    barred = {"d"}
    with pytest.raises(Refused, match="d cannot be looked into: Permission denied"):
        propose(directory)


def test_directories_in_the_place_of_files_are_not_read(tmp_path: Path) -> None:
    for name in ("Procfile", "compose.yaml", "pyproject.toml", "x.py"):
        (tmp_path / name).mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Refused, match="nothing in"):
        propose(tmp_path)


def test_what_looks_like_a_secret_is_said_to_stand_in_clear(tmp_path: Path) -> None:
    case = """-- compose.yaml --
services:
  web:
    build: .
    environment:
      DJANGO_SECRET_KEY: abc
      STRIPE_API_KEY: sk_live
      DATABASE_URL: postgres://shop:hunter2@db.example.com/shop
      EMPTY_TOKEN: ""
      MONKEY: see
      CACHE: redis://cache.example.com:6379
-- main.py --
"""
    proposal = propose(unpack(case, tmp_path / "shop"))
    said = [note for note in proposal.notes if "looks like a secret" in note]
    names = ("DJANGO_SECRET_KEY", "STRIPE_API_KEY", "DATABASE_URL")
    assert said == [f"web: {name} looks like a secret, and stands in this file in clear" for name in names]
    assert "# DATABASE_URL looks like a secret" in proposal.text


def test_what_does_not_carry_over_of_a_dockerfile_is_said_for_sources_too(tmp_path: Path) -> None:
    case = "-- main.py --\n-- Dockerfile --\nFROM a\nRUN apt-get install -y ffmpeg\nENV LANG=C\nCMD python main.py\n"
    proposal = propose(unpack(case, tmp_path / "shop"))
    assert "shop: its Dockerfile's `RUN apt-get install -y ffmpeg` does not carry over" in proposal.notes
    assert any("`ENV` of LANG does not carry over" in note for note in proposal.notes)
