"""The limits of a message over the wire: `--websockets-max-size` in KiB, for one frame and for the sum of
fragments.

A message that is too large closes with 1009, RFC 6455 §7.4.1, as soon as its size is known; one of exactly
the limit passes. Endless empty fragments, which no size would catch, end as well.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.raw_client import BINARY, CLOSE, CONTINUATION, TEXT, Frame, RawClient, frame
from support.runners import every_read_path
from support.server import Server

pytestmark = every_read_path

LIMIT = 64 * 1024


@pytest.fixture
def small(serve: Callable[..., Server], upgrade: Callable[..., RawClient]) -> RawClient:
    """A WebSocket to a server that takes messages of up to 64 KiB."""
    return upgrade(serve("echo_typed.py", "--websockets-max-size", "64"))


def test_a_message_of_exactly_the_limit_passes(small: RawClient) -> None:
    small.send(BINARY, b"x" * LIMIT)
    assert small.read_data() == Frame(BINARY, b"x" * LIMIT)


def test_a_frame_beyond_the_limit_is_failed_from_its_header(small: RawClient) -> None:
    small.send_bytes(frame(BINARY, b"", length=LIMIT + 1))
    small.expect_failure(1009)


def test_a_frame_of_a_petabyte_is_failed_from_its_header(small: RawClient) -> None:
    small.send_bytes(frame(BINARY, b"", length=1 << 50))
    small.expect_failure(1009)


def test_fragments_whose_sum_is_the_limit_pass(small: RawClient) -> None:
    half = b"y" * (LIMIT // 2)
    small.send_bytes(frame(TEXT, half, fin=False) + frame(CONTINUATION, half))
    assert small.read_data() == Frame(TEXT, half * 2)


def test_fragments_that_sum_over_the_limit_are_failed(small: RawClient) -> None:
    half = b"y" * (LIMIT // 2)
    small.send_bytes(frame(TEXT, half, fin=False) + frame(CONTINUATION, half, fin=False))
    small.send(CONTINUATION, b"z", fin=False)
    small.expect_failure(1009)


def test_the_limit_counts_for_each_message_anew(small: RawClient) -> None:
    for _ in range(3):
        small.send(BINARY, b"x" * LIMIT)
        assert small.read_data() == Frame(BINARY, b"x" * LIMIT)


def test_a_message_that_does_not_fit_is_failed_although_the_client_goes_on_sending(small: RawClient) -> None:
    data = frame(BINARY, b"x" * (LIMIT + 1))
    small.send_bytes(data)
    # An orderly end: unread bytes must not turn the Close into a reset.
    small.expect_failure(1009)


def test_endless_empty_fragments_end_with_1008(small: RawClient) -> None:
    small.send(TEXT, b"", fin=False)
    # 1024 and one for each 32 bytes of the limit are allowed.
    small.send_bytes(frame(CONTINUATION, b"", fin=False) * 3200)
    found = small.read_frame()
    assert (found.opcode, found.payload[:2]) == (CLOSE, (1008).to_bytes(2, "big")), found
    small.read_end()


def test_the_default_limit_is_one_mebibyte(client: RawClient) -> None:
    client.send(BINARY, b"x" * 2**20)
    assert client.read_data() == Frame(BINARY, b"x" * 2**20)
    client.send_bytes(frame(BINARY, b"", length=2**20 + 1))
    client.expect_failure(1009)
