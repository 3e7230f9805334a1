"""The form of the line protocol: frames in whatever pieces they come, and what is no frame."""

from __future__ import annotations

import pytest
from fairlead.channels.wire import LONGEST_LINE, BadLine, Reader, data_of, line, message_frame, payload_of


def frames(reader: Reader):
    found = []
    while (frame := reader.next_nowait()) is not None:
        found.append(frame)
    return found


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_frames_are_the_same_in_pieces_of_any_size(step):
    wire = line({"do": "list"}) + message_frame(7, "grün\n") + message_frame(8, b"\x00\n{") + message_frame(9, "")
    reader, found = Reader(100), []
    for at in range(0, len(wire), step):
        reader.feed(wire[at : at + step])
        found += frames(reader)
    assert found == [
        ({"do": "list"}, b""),
        ({"offset": 7, "kind": "text", "length": 6}, "grün\n".encode()),
        ({"offset": 8, "kind": "binary", "length": 3}, b"\x00\n{"),
        ({"offset": 9, "kind": "text", "length": 0}, b""),
    ]
    assert not reader.is_partial


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_a_payload_that_is_too_long_is_skipped_and_the_next_frame_understood(step):
    wire = line({"length": 11}) + b"x" * 11 + line({"length": 10}) + b"y" * 10
    reader, found = Reader(10), []
    for at in range(0, len(wire), step):
        reader.feed(wire[at : at + step])
        found += frames(reader)
    assert found == [({"length": 11}, None), ({"length": 10}, b"y" * 10)]


@pytest.mark.parametrize(
    "wire",
    [
        b"GET / HTTP/1.1\r\n",
        b"[]\n",
        b"\xff\n",
        b"\n",
        b'{"length": -1}\n',
        b'{"length": "5"}\n',
        b'{"length": true}\n',
        b'{"length": 1.0}\n',
        b"[" * 3000 + b"\n",
        b" " * (LONGEST_LINE + 1),
        b" " * (LONGEST_LINE + 1) + b"{}\n",
    ],
)
def test_what_is_no_frame_is_refused(wire):
    reader = Reader(10)
    reader.feed(wire)
    with pytest.raises(BadLine):
        reader.next_nowait()


def test_a_frame_that_is_not_complete_counts_as_begun():
    reader = Reader(10)
    assert not reader.is_partial
    for piece in (b'{"le', b'ngth": 3}\n', b"ab"):
        reader.feed(piece)
        assert reader.next_nowait() is None and reader.is_partial
    reader.feed(b"c")
    assert reader.next_nowait() == ({"length": 3}, b"abc") and not reader.is_partial


@pytest.mark.parametrize("data", ["", "text", b"", b"\xff", bytearray(b"a"), memoryview(b"b")])
def test_payloads_keep_their_kind(data):
    kind, payload = payload_of(data)
    assert data_of(kind, payload) == (data if isinstance(data, str) else bytes(data))


@pytest.mark.parametrize(("data", "error"), [(5, TypeError), (None, TypeError), ("\ud800", ValueError)])
def test_what_is_no_message_is_refused(data, error):
    with pytest.raises(error):
        payload_of(data)
