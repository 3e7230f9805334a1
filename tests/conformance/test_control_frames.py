"""RFC 6455 §5.5 over the wire: pings and pongs, their sizes, their order, and their place between fragments.

A ping is answered with its own payload whatever the app is doing; a pong nobody asked for is ignored.
"""

from __future__ import annotations

import pytest
from support.raw_client import CONTINUATION, PING, PONG, TEXT, Frame, RawClient, frame
from support.runners import every_read_path

pytestmark = every_read_path


@pytest.mark.parametrize("payload", [b"", b"hello", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125], ids=len)
def test_a_ping_is_answered_with_its_own_payload(client: RawClient, payload: bytes) -> None:
    client.send(PING, payload)
    assert client.read_frame() == Frame(PONG, payload)


def test_a_ping_delivered_octet_by_octet_is_answered(client: RawClient) -> None:
    client.send_octets(frame(PING, b"\xfe" * 125))
    assert client.read_frame() == Frame(PONG, b"\xfe" * 125)


@pytest.mark.parametrize("opcode", [PING, PONG])
@pytest.mark.parametrize(("size", "form"), [(126, 16), (65536, 64)])
def test_a_control_frame_of_more_than_125_bytes_fails_the_connection(
    client: RawClient, opcode: int, size: int, form: int
) -> None:
    client.send_bytes(frame(opcode, b"x" * size, form=form))
    client.expect_failure(1002)


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_fragmented_control_frame_fails_the_connection(client: RawClient, opcode: int) -> None:
    client.send(opcode, b"begin", fin=False)
    client.expect_failure(1002)


@pytest.mark.parametrize("payload", [b"", b"nobody asked"])
def test_an_unsolicited_pong_is_ignored(client: RawClient, payload: bytes) -> None:
    client.send(PONG, payload)
    client.send_text(b"still here")
    assert client.read_frame() == Frame(TEXT, b"still here")


def test_an_unsolicited_pong_before_a_ping_does_not_answer_it(client: RawClient) -> None:
    client.send_bytes(frame(PONG, b"unsolicited") + frame(PING, b"asked"))
    assert client.read_frame() == Frame(PONG, b"asked")


def test_ten_pings_in_one_segment_are_answered_in_their_order(client: RawClient) -> None:
    payloads = [f"payload-{number}".encode() for number in range(10)]
    client.send_bytes(b"".join(frame(PING, payload) for payload in payloads))
    # RFC 6455 §5.5.3 would allow to answer the last one only; whoever measures wants all.
    assert [client.read_frame() for _ in payloads] == [Frame(PONG, payload) for payload in payloads]


def test_ten_pings_octet_by_octet_are_answered_in_their_order(client: RawClient) -> None:
    payloads = [f"payload-{number}".encode() for number in range(10)]
    client.send_octets(b"".join(frame(PING, payload) for payload in payloads))
    assert [client.read_frame().payload for _ in payloads] == payloads


def test_a_ping_between_two_fragments_is_answered_before_the_message(client: RawClient) -> None:
    client.send(TEXT, b"frag", fin=False)
    client.send(PING, b"between")
    assert client.read_frame() == Frame(PONG, b"between")
    client.send(CONTINUATION, b"ment")
    assert client.read_frame() == Frame(TEXT, b"fragment")


def test_pings_and_messages_keep_a_connection_whole_for_long(client: RawClient) -> None:
    for number in range(100):
        payload = str(number).encode()
        client.send_bytes(frame(PING, payload) + frame(TEXT, payload))
        found = {client.read_frame(), client.read_frame()}
        assert found == {Frame(PONG, payload), Frame(TEXT, payload)}


def test_a_flood_of_pings_without_a_message_ends_with_1008(client: RawClient) -> None:
    # The limit is 500 in ten seconds; it bounds what one peer can make the server write.
    client.send_bytes(frame(PING, b"x") * 600)
    pongs = 0
    while (found := client.read_frame()).opcode == PONG:
        pongs += 1
    assert found.payload[:2] == (1008).to_bytes(2, "big"), found
    assert pongs <= 500
    client.read_end()
