"""`--harakiri` counts the application's time: a client that is slow, on purpose or not, has no worker killed."""

from __future__ import annotations

import threading

from faults.machine import BEHAVIOURS, get
from support.raw_client import RawClient
from support.runners import every_read_path

#: Seconds; a client takes longer than this, in parts and in all, and the application a small part of it.
LIMIT_S = 1

SIZE = 256 * 65536


def spread() -> None:
    """Spreads what a client does over a time, so that a limit meets it; nothing is waited for."""
    threading.Event().wait(0.6 * LIMIT_S)


@every_read_path
def test_a_client_that_drips_its_body_and_reads_slowly_kills_nobody(start, upgrade):
    server = start(BEHAVIOURS, "--harakiri", str(LIMIT_S))
    bystander, [pid] = upgrade(server, "/echo"), server.worker_pids()
    with RawClient(server.connect()) as client:
        head = f"POST /takes_and_gives HTTP/1.1\r\nHost: {server.host_header}\r\nContent-Length: 3\r\n\r\n"
        client.send_bytes(head.encode())
        for byte in (b"a", b"b", b"c"):
            spread()
            client.send_bytes(byte)
        spread()
        spread()
        assert client.read_response().status == 200
        client.read_exactly(SIZE)
    bystander.close_in_order()
    assert get(server, "/whoami")[1] == str(pid).encode()
    assert "harakiri" not in "\n".join(server.lines)
