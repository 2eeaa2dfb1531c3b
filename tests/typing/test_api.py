"""The public types, by two type checkers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

API = Path(__file__).with_name("api.py")
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("command", [("mypy", "--strict", "--warn-unused-ignores"), ("pyright",)])
def test_the_public_types(command):
    program = shutil.which(command[0], path=BIN)
    if program is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [program, *command[1:], str(API)], capture_output=True, text=True, check=False, timeout=110, cwd=API.parents[2]
    )
    assert done.returncode == 0, done.stdout + done.stderr
