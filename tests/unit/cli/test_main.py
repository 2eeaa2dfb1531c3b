"""The outermost: what becomes of output that nobody can take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
def test_a_full_disk_behind_the_output_is_said_in_a_sentence():
    command = [sys.executable, "-c", "from atoll.cli.entry import main; main()", "schema"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (
        4,
        ["atoll: there is no room where the output goes", "  → make room on that disk"],
    )
