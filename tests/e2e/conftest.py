import os
import subprocess
from contextlib import contextmanager

import pytest

from e2e.harness import ATOLL, System, until


@contextmanager
def a_system(directory):
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces on this host")
    made = System(directory)
    try:
        yield made
    finally:
        if made.places.run.exists():
            subprocess.run([str(ATOLL), "down", "--force"], cwd=directory, capture_output=True, timeout=60, check=False)
    until(lambda: not made.left(), seconds=10, what=f"nothing left of the system ({made.left()})")
    assert made.internal_errors() == []


@pytest.fixture
def system(tmp_path):
    """A system of the test's own."""
    with a_system(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One system for all tests of a module."""
    with a_system(tmp_path_factory.mktemp("shared")) as made:
        yield made
