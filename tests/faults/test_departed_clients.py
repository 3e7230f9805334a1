"""Clients that leave before their turn: the application never sees their requests, and who stays is served next."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from end_to_end.http_wire import read_answer, request
from support.http2_client import Http2Client
from support.raw_client import RawClient
from support.runners import every_runner

APP = Path(__file__).parent / "apps" / "served.py"

pytestmark = every_runner


@pytest.fixture
def server(start, runner):
    return start(APP, *runner.with_slots(1))


def sending(server, path, *lines, method="GET"):
    client = RawClient(server.connect())
    client.send_bytes(request(server, path, *lines, method=method))
    return client


def hold_the_slot(server):
    """A request that has the only slot, and ends with the byte that it still lacks."""
    holder = sending(server, "/holder", "Content-Length: 1", "Expect: 100-continue", method="POST")
    assert holder.read_response().status == 100  # the application reads
    return holder


@pytest.mark.parametrize("resets", [False, True], ids=["end", "reset"])
def test_requests_that_wait_outside_are_not_served_once_their_clients_have_left(server, resets):
    holder = hold_the_slot(server)
    for number in range(20):
        client = sending(server, f"/left/{number}")
        if resets:
            client.abort()
        else:
            client.close()
    live = sending(server, "/live")
    holder.send_bytes(b"x")
    assert read_answer(holder).body == b"/holder"
    holder.close()
    served = read_answer(live).body.decode().split()
    # One may be taken in the moment between its head and its end.
    assert served[0] == "/holder" and served[-1] == "/live" and len(served) <= 4, served


@pytest.mark.parametrize("resets", [False, True], ids=["end", "reset"])
def test_requests_that_wait_inside_are_not_served_once_their_clients_have_left(server, resets):
    kept = []
    for _ in range(5):
        kept.append(sending(server, "/before"))
        assert read_answer(kept[-1]).status == 200
    holder = hold_the_slot(server)
    *leaving, staying = kept
    for client in (*leaving, staying):
        client.send_bytes(request(server, "/left" if client is not staying else "/live"))
    for client in leaving:
        if resets:
            client.abort()
        else:
            client.socket.shutdown(socket.SHUT_WR)
            assert client.read_rest() == b""
    holder.send_bytes(b"x")
    assert read_answer(holder).status == 200
    served = read_answer(staying).body.decode().split()
    assert served == ["/before"] * 5 + ["/holder", "/live"]
    # Each has its line all the same, without a status.
    for _ in leaving:
        server.wait_for_line(r'request: 127\.0\.0\.1 "GET /left HTTP/1\.1" 0, 0 bytes in ')


@pytest.mark.parametrize("way", ["reset", "connection"])
def test_streams_that_wait_are_not_served_once_their_clients_have_left(server, way):
    with Http2Client.connect(server) as client, Http2Client.connect(server) as other:
        before = [each.request("/before").body() for each in (client, other)]
        holder = hold_the_slot(server)
        # The end of a request is not the end of its client: END_STREAM comes with each GET.
        live = other.request("/live")
        leaving = [client.request("/left") for _ in range(10)]
        other.ping()
        client.ping()
        if way == "reset":
            for stream in leaving:
                stream.cancel()
            client.ping()
        else:
            client.socket.shutdown(socket.SHUT_WR)
            client.wait_for_close()
        holder.send_bytes(b"x")
        assert read_answer(holder).status == 200
        assert live.body().decode().split() == [*before[1].decode().split(), "/holder", "/live"]
        server.wait_for_line(r'request: 127\.0\.0\.1 "GET /left HTTP/2" 0, 0 bytes in ')
        assert other.request("/next").body().decode().split()[2:] == ["/holder", "/live", "/next"]
