"""RFC 6455 §5.4 over the wire: messages in several frames, control frames between them, and broken orders.

A message is delivered once, whole, and only when its last fragment has come.
"""

from __future__ import annotations

import os

import pytest
from support.raw_client import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    RawClient,
    fragments,
    frame,
)
from support.runners import every_read_path

pytestmark = every_read_path


def chop(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_message_of_two_fragments_is_delivered_whole(client: RawClient, opcode: int) -> None:
    client.send_bytes(b"".join(fragments(opcode, [b"first", b"second"])))
    assert client.read_frame() == Frame(opcode, b"firstsecond")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_fragments_delivered_octet_by_octet_are_joined(client: RawClient, opcode: int) -> None:
    client.send_octets(b"".join(fragments(opcode, [b"first", b"", b"second"])))
    assert client.read_frame() == Frame(opcode, b"firstsecond")


@pytest.mark.parametrize("parts", [[b"", b""], [b"", b"", b""], [b"", b"middle", b""], [b"a", b"", b""]])
def test_empty_fragments_are_legal(client: RawClient, parts: list[bytes]) -> None:
    client.send_bytes(b"".join(fragments(TEXT, parts)))
    assert client.read_frame() == Frame(TEXT, b"".join(parts))


@pytest.mark.parametrize("size", [64, 256, 1024, 4096])
def test_64_kib_in_fragments_of_any_size_are_joined(client: RawClient, size: int) -> None:
    payload = os.urandom(65536)
    client.send_bytes(b"".join(fragments(BINARY, chop(payload, size))))
    assert client.read_frame() == Frame(BINARY, payload)


def test_a_message_of_256_bytes_in_fragments_of_one_byte_is_joined(client: RawClient) -> None:
    payload = bytes(range(256))
    client.send_bytes(b"".join(fragments(BINARY, chop(payload, 1))))
    assert client.read_frame() == Frame(BINARY, payload)


def test_control_frames_between_all_fragments_are_answered_and_do_not_disturb(client: RawClient) -> None:
    parts = fragments(TEXT, [b"fragment1", b"fragment2", b"fragment3", b"fragment4"])
    for number, part in enumerate(parts):
        client.send_bytes(part + frame(PONG, b"nobody asked") + frame(PING, str(number).encode()))
    found = [client.read_frame() for _ in range(5)]
    assert [one for one in found if one.opcode == PONG] == [Frame(PONG, b"%d" % at) for at in range(4)]
    assert [one for one in found if one.opcode == TEXT] == [Frame(TEXT, b"fragment1fragment2fragment3fragment4")]


def test_nothing_is_delivered_before_the_last_fragment(client: RawClient) -> None:
    client.send(TEXT, b"not yet", fin=False)
    client.send(PING, b"probe")
    assert client.read_frame() == Frame(PONG, b"probe")
    client.send(CONTINUATION, b" done")
    assert client.read_frame() == Frame(TEXT, b"not yet done")


def test_a_message_follows_a_fragmented_one(client: RawClient) -> None:
    client.send_bytes(b"".join(fragments(BINARY, [b"a", b"b"])) + frame(TEXT, b"c"))
    assert client.read_frame() == Frame(BINARY, b"ab")
    assert client.read_frame() == Frame(TEXT, b"c")


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("payload", [b"", b"non-continuation payload"])
def test_a_continuation_with_nothing_to_continue_fails_the_connection(
    client: RawClient, fin: bool, payload: bytes
) -> None:
    client.send(CONTINUATION, payload, fin=fin)
    client.expect_failure(1002)


def test_a_continuation_after_a_complete_message_fails_the_connection(client: RawClient) -> None:
    client.send_bytes(b"".join(fragments(TEXT, [b"a", b"b"])))
    assert client.read_frame() == Frame(TEXT, b"ab")
    client.send(CONTINUATION, b"c")
    client.expect_failure(1002)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_a_new_message_inside_a_fragmented_one_fails_the_connection(client: RawClient, opcode: int) -> None:
    client.send(TEXT, b"begun", fin=False)
    client.send(opcode, b"another")
    client.expect_failure(1002)


def test_a_second_beginning_inside_a_fragmented_message_fails_the_connection(client: RawClient) -> None:
    client.send_octets(frame(TEXT, b"begun", fin=False) + frame(TEXT, b"begun again", fin=False))
    client.expect_failure(1002)
