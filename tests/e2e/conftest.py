import os
import subprocess

import pytest

from e2e.harness import ATOLL, System, until


@pytest.fixture
def system(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces on this host")
    made = System(tmp_path)
    yield made
    if made.places.run.exists():
        subprocess.run([str(ATOLL), "down", "--force"], cwd=tmp_path, capture_output=True, timeout=60, check=False)
    until(lambda: not made.left(), seconds=10, what=f"nothing left of the system ({made.left()})")
