"""The same contracts where we are root in a user namespace only: the gateway reaches the mesh over a unix socket."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = ("test_calls.py", "test_protocols.py", "test_changes.py")
ENTER = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")


@pytest.mark.skipif(bool(os.environ.get("ATOLL_TEST_ROOTLESS")), reason="this is the run in the user namespace")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("file", FILES)
def test_in_a_user_namespace(file):
    if subprocess.run([*ENTER, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("user namespaces are not allowed on this host")
    done = subprocess.run(
        [*ENTER, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / file)],
        env={**os.environ, "ATOLL_TEST_ROOTLESS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "passed" in done.stdout
