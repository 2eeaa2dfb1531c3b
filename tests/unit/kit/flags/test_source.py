import pytest

from atoll.kit.flags.source import signals


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
