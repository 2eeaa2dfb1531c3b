import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # what these tests share

from flagserver import FlagServer

from atoll.kit import Retry
from atoll.kit.flags import FlagClient


@pytest.fixture(params=["tcp", "unix", "prefixed"])
def server(request, tmp_path):
    path, prefix = {"tcp": (None, ""), "unix": (tmp_path / "s.sock", ""), "prefixed": (tmp_path / "s.sock", "/v1")}[
        request.param
    ]
    made = FlagServer(path, prefix).start()
    yield made
    made.stop()


@pytest.fixture
def tcp():
    made = FlagServer().start()
    yield made
    made.stop()


@pytest.fixture
def client():
    """Makes clients that lose no time with waiting, and closes them."""
    made = []

    def make(source, **more):
        made.append(FlagClient(source, **{"retry": Retry(base=0.01, cap=0.05), "timeout": 2.0, **more}))
        return made[-1]

    yield make
    for each in made:
        each.close()
