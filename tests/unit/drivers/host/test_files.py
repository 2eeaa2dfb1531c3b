from __future__ import annotations

import pytest

from atoll.drivers.host.files import read_kernel


def test_what_the_kernel_says_is_read_whole():
    assert read_kernel("/proc/self/stat").endswith("\n")
    assert read_kernel("/proc/sys/kernel/ostype") == "Linux\n"


def test_a_name_that_is_no_text_is_read_all_the_same(tmp_path):
    path = tmp_path / "stat"
    path.write_bytes(b"7 (\xff) S")
    assert read_kernel(path) == "7 (\ufffd) S"


def test_what_is_not_there_is_an_error():
    with pytest.raises(OSError, match="No such file"):
        read_kernel("/proc/self/nothing")
