"""The outermost: what becomes of output that nobody can take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["explain web", "schema", "plan"])
def test_a_closed_output_is_no_error_of_ours(tmp_path, command):
    (tmp_path / "atoll.yaml").write_text("system: shop\nservices: {web: {source: ., run: sleep 1, health: /}}\n")
    script = f'exec {sys.executable} -c "from atoll.cli.entry import main; main()" {command} >&-'
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert "Traceback" not in done.stderr


def test_a_directory_that_was_deleted_is_said_in_a_sentence(tmp_path):
    script = (
        f'mkdir x && cd x && rmdir ../x && exec {sys.executable} -c "from atoll.cli.entry import main; main()" status'
    )
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (
        4,
        ["atoll: the directory that you are in was deleted", "  → go to one that is there"],
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is always full")
@pytest.mark.parametrize(("command", "code"), [("schema", 4), ("plan", 255)])
def test_a_full_disk_behind_the_output_is_said_in_a_sentence(tmp_path, command, code):
    (tmp_path / "atoll.yaml").write_text("system: shop\nservices: {web: {source: ., run: sleep 1, health: /}}\n")
    words = [sys.executable, "-c", "from atoll.cli.entry import main; main()", command]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(words, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()) == (
        code,
        ["atoll: there is no room where the output goes", "  → make room on that disk"],
    )
