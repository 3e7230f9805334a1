"""RFC 6455 §5.5.1 and §7 over the wire: codes, reasons, what may follow a Close, and who closes TCP.

The server answers a Close once, with the peer's code, and then ends TCP in order; after its own Close it says
nothing more, whatever it is sent.
"""

from __future__ import annotations

import pytest
from support.raw_client import BINARY, CLOSE, CONTINUATION, PING, TEXT, Frame, RawClient, close_payload, frame
from support.runners import every_read_path

pytestmark = every_read_path

VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID)
def test_a_valid_code_is_echoed_and_tcp_is_closed(client: RawClient, code: int) -> None:
    client.send_close(code, "bye")
    assert client.read_close()[0] == code
    client.read_end()


@pytest.mark.parametrize("code", INVALID)
def test_an_invalid_code_is_answered_with_1002(client: RawClient, code: int) -> None:
    client.send_close(code)
    client.expect_failure(1002)


def test_a_close_without_a_code_is_answered_without_one(client: RawClient) -> None:
    client.send_close(None)
    assert client.read_close() == (None, "")
    client.read_end()


def test_a_close_of_one_byte_is_answered_with_1002(client: RawClient) -> None:
    client.send(CLOSE, b"a")
    client.expect_failure(1002)


@pytest.mark.parametrize("reason", [b"", b"x", "κόσμε".encode(), b"*" * 123], ids=len)
def test_a_reason_of_up_to_123_bytes_is_accepted(client: RawClient, reason: bytes) -> None:
    client.send_close(1000, reason)
    assert client.read_close()[0] == 1000
    client.read_end()


def test_a_reason_of_124_bytes_makes_the_frame_too_long(client: RawClient) -> None:
    client.send(CLOSE, close_payload(1000, b"*" * 124))
    client.expect_failure(1002)


@pytest.mark.parametrize("reason", [b"\xff", b"\xce\xba\xe1", b"\xed\xa0\x80"])
def test_a_reason_that_is_not_utf8_is_answered_with_1007(client: RawClient, reason: bytes) -> None:
    client.send_close(1000, reason)
    client.expect_failure(1007)


def test_a_fragmented_close_fails_the_connection(client: RawClient) -> None:
    client.send(CLOSE, close_payload(1000), fin=False)
    client.expect_failure(1002)


def test_a_close_delivered_octet_by_octet_is_answered(client: RawClient) -> None:
    client.send_octets(frame(CLOSE, close_payload(4321, "bye")))
    assert client.read_close()[0] == 4321
    client.read_end()


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
def test_what_follows_a_close_is_ignored(client: RawClient, opcode: int) -> None:
    payload = close_payload(1001) if opcode == CLOSE else b"too late"
    client.send_bytes(frame(CLOSE, close_payload(1000)) + frame(opcode, payload))
    assert client.read_close()[0] == 1000
    client.read_end()


def test_nonsense_after_a_close_is_ignored(client: RawClient) -> None:
    client.send_bytes(frame(CLOSE, close_payload(1000)) + b"\xff" * 500)
    assert client.read_close()[0] == 1000
    client.read_end()


def test_a_large_message_before_a_close_is_answered_first(client: RawClient) -> None:
    client.send_text(b"x" * 262144)
    assert client.read_data() == Frame(TEXT, b"x" * 262144)
    client.close_in_order()


def test_a_close_inside_a_fragmented_message_is_answered(client: RawClient) -> None:
    client.send(TEXT, b"unfinished", fin=False)
    client.send_close(1000)
    assert client.read_close()[0] == 1000
    client.read_end()


def test_a_continuation_after_a_close_inside_a_message_is_ignored(client: RawClient) -> None:
    client.send_bytes(
        frame(TEXT, b"unfinished", fin=False) + frame(CLOSE, close_payload(1000)) + frame(CONTINUATION, b"end")
    )
    assert client.read_close()[0] == 1000
    client.read_end()


def test_the_server_closes_tcp_although_the_client_stays(client: RawClient) -> None:
    # RFC 6455 §7.1.1: the server is the one to close first; the client here never does.
    client.send_close(1000)
    assert client.read_close()[0] == 1000
    client.read_end()


def test_a_failed_connection_gets_one_close_and_no_more(client: RawClient) -> None:
    client.send_bytes(frame(TEXT, b"", rsv=7) + frame(TEXT, b"", rsv=7) + frame(CLOSE, close_payload(1000)))
    reason = client.expect_failure(1002)
    assert reason, "the peer is told which rule it broke"
    assert len(reason.encode()) <= 123
