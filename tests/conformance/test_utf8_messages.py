"""RFC 6455 §8.1 over the wire: text is UTF-8, checked as it arrives, across fragments and inside code points.

Bad text fails with 1007 as soon as no continuation could make it good, before the frame or the message has
ended. Binary messages are never checked.
"""

from __future__ import annotations

import contextlib

import pytest
from support.raw_client import BINARY, CONTINUATION, TEXT, Frame, RawClient, apply_mask, fragments, frame
from support.runners import every_read_path

pytestmark = every_read_path

GREEK = "κόσμε".encode()

VALID = [
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    GREEK,
    b"\x00",
    b"\x7f",
    "\u0080\u07ff".encode(),
    "\u0800\uffff".encode(),
    "\ud7ff\ue000\ufffd".encode(),
    "\U00010000\U0010ffff".encode(),
    "\ufeff with a mark".encode(),
    "\ufdd0\ufffe\uffff\U0001fffe\U0010ffff non-characters".encode(),
]  # fmt: skip

INVALID = [
    b"\x80",  # a continuation byte alone
    b"\xbf",
    b"\xc0\x80",  # overlong
    b"\xc1\xbf",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf",
    b"\xf8\x88\x80\x80\x80",  # five bytes
    b"\xfc\x84\x80\x80\x80\x80",  # six bytes
    b"\xed\xa0\x80",  # surrogates
    b"\xed\xbf\xbf",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80",  # above U+10FFFF
    b"\xf5\x80\x80\x80",
    b"\xfe",
    b"\xff",
    b"\xc3\x28",  # a bad second byte
    b"\xe2\x28\xa1",
    b"\xf0\x28\x8c\xbc",
    b"ok \xce\xba\xe1\xbd\xb9 then \xff",
]

#: The message ends inside a code point; only its end tells.
TRUNCATED = [b"\xce", b"\xe2\x82", b"\xf0\x9f\x98", GREEK[:-1], b"text \xf4\x8f\xbf"]


@pytest.mark.parametrize("payload", VALID)
def test_valid_text_comes_back(client: RawClient, payload: bytes) -> None:
    client.send_text(payload)
    assert client.read_data() == Frame(TEXT, payload)


@pytest.mark.parametrize("payload", VALID)
def test_valid_text_in_fragments_of_one_octet_comes_back(client: RawClient, payload: bytes) -> None:
    client.send_bytes(b"".join(fragments(TEXT, [payload[at : at + 1] for at in range(len(payload))])))
    assert client.read_data() == Frame(TEXT, payload)


@pytest.mark.parametrize("payload", INVALID + TRUNCATED)
def test_invalid_text_fails_with_1007(client: RawClient, payload: bytes) -> None:
    client.send_text(payload)
    client.expect_failure(1007)


@pytest.mark.parametrize("payload", INVALID + TRUNCATED)
def test_invalid_text_delivered_octet_by_octet_fails_with_1007(client: RawClient, payload: bytes) -> None:
    # The server may close before the last octet: it fails fast.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        client.send_octets(frame(TEXT, payload))
    client.expect_failure(1007)


@pytest.mark.parametrize("payload", INVALID)
def test_invalid_text_fails_before_its_message_has_ended(client: RawClient, payload: bytes) -> None:
    client.send(TEXT, b"good so far, " + payload, fin=False)
    client.expect_failure(1007)


def test_invalid_text_fails_before_its_frame_has_ended(client: RawClient) -> None:
    whole = frame(TEXT, b"\xce\xba\xff" + b"x" * 1000)
    client.send_bytes(whole[:-900])
    client.expect_failure(1007)


def test_a_code_point_may_be_split_between_two_fragments(client: RawClient) -> None:
    for cut in range(1, len(GREEK)):
        client.send_bytes(b"".join(fragments(TEXT, [GREEK[:cut], GREEK[cut:]])))
        assert client.read_data() == Frame(TEXT, GREEK)


def test_a_code_point_that_a_later_fragment_breaks_fails_at_that_octet(client: RawClient) -> None:
    # U+10FFFF would be f4 8f bf bf; the second octet 90 alone decides (RFC 3629 §4).
    client.send(TEXT, GREEK + b"\xf4", fin=False)
    client.send(CONTINUATION, b"\x90", fin=False)
    client.expect_failure(1007)


def test_a_code_point_inside_one_frame_fails_at_its_first_wrong_octet(client: RawClient) -> None:
    mask = b"\x11\x22\x33\x44"
    data = GREEK + b"\xf4\x90"
    head = frame(TEXT, b"", mask=mask, length=100)
    client.send_bytes(head + apply_mask(data, mask))  # 100 bytes are announced, the others never come
    client.expect_failure(1007)


def test_a_message_that_ends_inside_a_code_point_fails_although_a_next_one_would_complete_it(
    client: RawClient,
) -> None:
    client.send_bytes(frame(TEXT, GREEK[:-1]) + frame(TEXT, GREEK[-1:]))
    client.expect_failure(1007)


def test_an_empty_last_fragment_does_not_complete_a_code_point(client: RawClient) -> None:
    client.send_bytes(b"".join(fragments(TEXT, [b"\xce", b""])))
    client.expect_failure(1007)


@pytest.mark.parametrize("payload", INVALID[:6] + TRUNCATED)
def test_binary_messages_are_not_checked(client: RawClient, payload: bytes) -> None:
    client.send(BINARY, payload)
    assert client.read_data() == Frame(BINARY, payload)
