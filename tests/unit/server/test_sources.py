"""A source that cannot be used is never taken for one that has not changed."""

from __future__ import annotations

import pytest

from atoll.drivers.builders.build import LocalBuilder
from atoll.errors import Refused
from atoll.model.load import loads
from atoll.server.sources import digests

TEXT = "system: shop\nservices:\n  web: {source: web, run: python main.py}\n  api: {source: api}\n"


@pytest.fixture
def builder(tmp_path):
    return LocalBuilder(tmp_path / "artifacts", tmp_path / "logs")


@pytest.fixture
def system(tmp_path):
    for name in ("web", "api"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "main.py").write_text("print()\n")
    return loads(TEXT, file="atoll.yaml", directory=str(tmp_path))


def test_every_source_has_a_digest(builder, system):
    found = digests(builder, system)
    assert found.keys() == {"web", "api"}
    assert all(len(digest) == 64 for digest in found.values())


def break_json(source):
    (source / "package.json").write_text('{"name": ')


def empty(source):
    (source / "main.py").unlink()


def remove(source):
    empty(source)
    source.rmdir()


def lead_out(source):
    (source / "out").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (break_json, "package.json is not JSON"),
        (empty, "says how to start it"),
        (remove, "there is no source directory"),
        (lead_out, "the link out leads out of its source, to /etc/passwd"),
    ],
)
async def test_one_that_cannot_be_used_is_named_as_a_build_would(builder, system, tmp_path, spoil, words):
    spoil(tmp_path / "api")
    with pytest.raises(Refused, match=words) as refused:
        digests(builder, system)
    with pytest.raises(Refused) as built:
        await builder.build(tmp_path / "api", None, progress=lambda _: None)
    assert refused.value.message == f"api: {built.value.message}"
    assert refused.value.hint == built.value.hint


def test_all_that_cannot_be_used_are_named(builder, system, tmp_path):
    lead_out(tmp_path / "api")
    lead_out(tmp_path / "web")
    with pytest.raises(Refused) as refused:
        digests(builder, system)
    assert [line.split(":")[0] for line in refused.value.message.splitlines()] == ["web", "api"]
    assert refused.value.hint == "copy the file in, or ignore it"
