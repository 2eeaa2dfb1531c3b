"""What is shown of strangers' text steers no terminal and can always be written."""

import pytest

from atoll.values.printable import plain, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve", "naïve"),
        ("", ""),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb", "a\\nb"),
        ("\ud83d!", "\\ud83d!"),
        ("\u202e", "\\u202e"),
    ],
)
def test_what_steers_or_has_no_encoding_is_spelled_out(text, shown):
    assert printable(text) == shown
    printable(text).encode()
    assert printable(text).isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("naïve\ttext\n", "naïve\ttext\n"),
        ("\x1b]0;EVIL\x07dying", "dying"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1bcreset \x9b2J\r\x00", "reset 2J"),
    ],
)
def test_what_steers_is_taken_out(text, shown):
    assert plain(text) == shown
