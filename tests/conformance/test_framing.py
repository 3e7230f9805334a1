"""RFC 6455 §5.2 and §5.3 over the wire: sizes, length forms, masks, reserved bits, reserved opcodes.

Each message is checked to come back whole, of its own type, in one frame of the shortest form; each broken
frame is failed with 1002 at once. Sizes stand on both sides of every border of the length field.
"""

from __future__ import annotations

import os

import pytest
from support.raw_client import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, RawClient, frame
from support.runners import every_read_path

pytestmark = every_read_path

SIZES = [0, 1, 124, 125, 126, 127, 128, 4095, 65535, 65536, 65537, 131072]


@pytest.mark.parametrize("size", SIZES)
def test_a_text_message_of_any_size_comes_back_as_text(client: RawClient, size: int) -> None:
    payload = (b"abcdefghijklmnopqrstuvwxyz " * (size // 27 + 1))[:size]
    client.send(TEXT, payload)
    assert client.read_data() == Frame(TEXT, payload)
    client.close_in_order()


@pytest.mark.parametrize("size", SIZES)
def test_a_binary_message_of_any_size_comes_back_as_binary(client: RawClient, size: int) -> None:
    payload = os.urandom(size)
    client.send(BINARY, payload)
    assert client.read_data() == Frame(BINARY, payload)
    client.close_in_order()


@pytest.mark.parametrize("size", [0, 125, 126, 300])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_delivered_octet_by_octet_is_whole(client: RawClient, opcode: int, size: int) -> None:
    client.send_octets(frame(opcode, b"x" * size))
    assert client.read_data() == Frame(opcode, b"x" * size)


@pytest.mark.parametrize("piece", [997, 1460, 4096])
def test_a_large_message_chopped_into_odd_pieces_is_whole(client: RawClient, piece: int) -> None:
    payload = os.urandom(65536)
    data = frame(BINARY, payload)
    for at in range(0, len(data), piece):
        client.send_bytes(data[at : at + piece])
    assert client.read_data() == Frame(BINARY, payload)


def test_many_messages_in_one_segment_are_answered_in_their_order(client: RawClient) -> None:
    messages = [f"message {number}".encode() for number in range(200)]
    client.send_bytes(b"".join(frame(TEXT, message) for message in messages))
    assert [client.read_data().payload for _ in messages] == messages


def test_a_frame_split_inside_its_header_at_every_byte_is_whole(client: RawClient) -> None:
    data = frame(BINARY, b"z" * 126)  # two bytes, two of length, four of mask
    for cut in range(1, 10):
        client.send_bytes(data[:cut])
        client.send_bytes(data[cut:])
        assert client.read_data() == Frame(BINARY, b"z" * 126)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x00\x80\xfe"])
@pytest.mark.parametrize("size", [1, 3, 4, 5, 31, 32, 33, 1000])
def test_any_mask_is_taken_off_at_any_length(client: RawClient, mask: bytes, size: int) -> None:
    payload = bytes(range(256)) * 4
    client.send(BINARY, payload[:size], mask=mask)
    assert client.read_data() == Frame(BINARY, payload[:size])


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE])
def test_an_unmasked_frame_fails_the_connection(client: RawClient, opcode: int) -> None:
    client.send(opcode, b"", mask=None)
    client.expect_failure(1002)


@pytest.mark.parametrize("rsv", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_a_reserved_bit_without_an_extension_fails_the_connection(client: RawClient, opcode: int, rsv: int) -> None:
    client.send(opcode, b"", rsv=rsv)
    client.expect_failure(1002)


def test_a_reserved_bit_in_a_later_fragment_fails_the_connection(client: RawClient) -> None:
    client.send(TEXT, b"begin", fin=False)
    client.send(CONTINUATION, b"end", rsv=4)
    client.expect_failure(1002)


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
def test_a_reserved_opcode_fails_the_connection(client: RawClient, opcode: int) -> None:
    client.send(opcode, b"")
    client.expect_failure(1002)


@pytest.mark.parametrize("opcode", [3, 7, 11, 15])
def test_a_reserved_opcode_with_payload_behind_a_message_fails_after_its_answer(client: RawClient, opcode: int) -> None:
    client.send_text(b"before")
    assert client.read_data() == Frame(TEXT, b"before")
    client.send_bytes(frame(opcode, b"payload") + frame(PING, b""))
    client.expect_failure(1002)


def test_a_broken_frame_in_the_segment_of_a_good_message_still_fails_with_1002(client: RawClient) -> None:
    client.send_bytes(frame(TEXT, b"good") + frame(TEXT, b"bad", rsv=4))
    first = client.read_data()
    if first.opcode == TEXT:  # the answer may come first, it need not (RFC 6455 §7.1.7)
        assert first.payload == b"good"
        client.expect_failure(1002)
    else:
        assert first.opcode == CLOSE and first.payload[:2] == b"\x03\xea"
        client.read_end()


@pytest.mark.parametrize(("size", "form"), [(0, 16), (5, 16), (125, 16), (5, 64), (126, 64), (65535, 64)])
def test_a_length_that_is_not_in_its_shortest_form_fails_the_connection(
    client: RawClient, size: int, form: int
) -> None:
    client.send_bytes(frame(BINARY, b"x" * size, form=form))
    client.expect_failure(1002)


def test_a_64_bit_length_with_its_top_bit_set_fails_the_connection(client: RawClient) -> None:
    client.send_bytes(frame(BINARY, b"", form=64, length=1 << 63))
    client.expect_failure(1002)


def test_a_frame_is_failed_from_its_header_alone(client: RawClient) -> None:
    client.send_bytes(frame(BINARY, b"", rsv=4, length=100))  # the payload never comes
    client.expect_failure(1002)
