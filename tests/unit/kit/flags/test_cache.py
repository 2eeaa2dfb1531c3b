import json

import pytest

from atoll.kit.flags.cache import Cache


def test_what_cannot_be_kept_leaves_nothing_behind(tmp_path, monkeypatch):
    cache = Cache(tmp_path, "https://flags.example")
    cache.store("{}", "1")
    before = sorted(tmp_path.iterdir())

    def full(*_args):
        raise OSError("no space left")

    monkeypatch.setattr(json, "dump", full)
    with pytest.raises(OSError, match="no space"):
        cache.store('{"flags": {}}', "2")
    assert sorted(tmp_path.iterdir()) == before
    assert cache.load().etag == "1"
