from http.client import HTTPSConnection

import pytest

from atoll.kit.flags.source import LONGEST, FileSource, HttpSource, signals


@pytest.mark.parametrize(
    ("stream", "said"),
    [
        (b'event: change\ndata: {"etag": "a"}\n\n', ["a"]),
        (b'event:change\r\ndata:{"etag":\r\ndata: "a"}\r\n\r\n', ["a"]),
        (b": hello\n\n:\n", [None, None]),
        (b'event: change\ndata: {"etag": "a"}\n\n\ndata: x\n\n', ["a"]),
        (b'data: {"etag": "a"}\n\nevent: other\ndata: x\n\n', []),
        (b'id: 1\nretry: 5\nevent: change\ndata: {"etag": "\\"7\\""}\n\n', ['"7"']),
        (b"event: change\ndata: nonsense\n\nevent: change\n\nevent: change\ndata: []\n\n", ["?", "?", "?"]),
        (b'event: change\ndata: {"etag": "never finished"}\n', []),
        (b"\xff\xfe\n\n", []),
    ],
)
def test_signals(stream, said):
    assert list(signals(stream.splitlines(keepends=True))) == said


def test_lines_and_events_have_an_end():
    start, longest = b"event: change\n", b"data: ".ljust(LONGEST - 1, b"x") + b"\n"
    assert list(signals([start, longest, b"\n"])) == ["?"]
    for stream in (
        [longest.replace(b"\n", b"xx")],
        [b":".ljust(LONGEST + 1)],
        [start, longest, b"data: xxxxxxxx\n", b"\n"],
    ):
        with pytest.raises(ConnectionError, match="an event of more than 65536 bytes"):
            list(signals(stream))


def test_a_file_is_followed_again_in_a_child(tmp_path):
    path = tmp_path / "flags.json"
    path.write_text("{}")
    source = FileSource(path, 0.0)
    source.stop()
    assert list(source.changes()) == []
    source.renew()
    assert next(source.changes()) == source.fetch("").etag


def test_https_is_spoken_where_the_url_says_so():
    connection = HttpSource("https://flags.example:8443/v1", {}, 1.0, 1.0)._connection(1.0)
    assert isinstance(connection, HTTPSConnection)
    assert (connection.host, connection.port) == ("flags.example", 8443)
