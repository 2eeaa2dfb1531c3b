from __future__ import annotations

import pytest

from atoll.errors import Unavailable
from atoll.server.__main__ import _directories
from atoll.server.settings import Settings


@pytest.fixture
def places(tmp_path):
    return Settings(state=tmp_path / "state", run=tmp_path / "run")


def test_nobody_else_may_look_into_its_directories(places):
    _directories(places)
    for directory in (places.state, places.logs, places.artifacts, places.run):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_others_could_look_into_is_closed_to_them(places):
    places.state.mkdir(mode=0o755)
    _directories(places)
    assert places.state.stat().st_mode & 0o777 == 0o700


def test_what_is_in_the_way_is_named(places):
    places.state.mkdir()
    places.logs.write_text("in the way")
    with pytest.raises(Unavailable, match=f"{places.logs} cannot be made: File exists"):
        _directories(places)
