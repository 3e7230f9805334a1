"""The example servers in C, asked by a client that is not ours: what a program in any language may expect."""

from __future__ import annotations

import asyncio
import http.client
import re
import signal
import socket
import struct
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from c_binding.conftest import TIMEOUT_S
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

CONNECTIONS = 50
BLOCK = bytes(range(256)) * 256  # 64 KiB


def hello(server) -> tuple[int, str, bytes]:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    client.request("GET", "/")
    response = client.getresponse()
    body = response.read()
    client.close()
    return response.status, response.getheader("Content-Type"), body


def test_text_and_binary_keep_their_kind_and_content(server):
    with connect(server.url) as client:
        for message in ["héllo €", "", b"", b"\x00\xff", BLOCK, "x" * 65536]:
            client.send(message)
            assert client.recv(timeout=TIMEOUT_S) == message


def test_fragments_come_back_as_one_message(server):
    with connect(server.url) as client:
        client.send(["a", "b€", "", "c"])
        assert client.recv(timeout=TIMEOUT_S) == "ab€c"
        client.send([BLOCK, b"", BLOCK])
        assert client.recv(timeout=TIMEOUT_S) == BLOCK * 2


def test_fifty_connections_at_once_get_each_their_own(server):
    messages = ["text", b"binary", BLOCK, ["frag", "ments"]]

    async def one(number: int) -> None:
        async with connect_async(server.url) as client:
            for _ in range(5):
                for message in [*messages, f"number {number}"]:
                    await client.send(message)
                    expected = "".join(message) if isinstance(message, list) else message
                    assert await asyncio.wait_for(client.recv(), TIMEOUT_S) == expected

    async def all_of_them() -> None:
        await asyncio.gather(*(one(number) for number in range(CONNECTIONS)))

    asyncio.run(all_of_them())


def test_a_client_that_sends_much_before_it_reads_loses_nothing(server):
    """More than all buffers hold: the server must stop reading, wait for room, and go on."""
    count = 512

    async def run() -> None:
        async with connect_async(server.url, max_queue=1) as client:
            sending = asyncio.create_task(send_all(client))
            for number in range(count):
                message = await asyncio.wait_for(client.recv(), TIMEOUT_S)
                assert message[:4] == struct.pack("!I", number) and len(message) == len(BLOCK)
            await sending

    async def send_all(client) -> None:
        for number in range(count):
            await client.send(struct.pack("!I", number) + BLOCK[4:])

    asyncio.run(run())


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "off"), (3000, "bye €"), (4999, "x" * 123)])
def test_the_client_s_close_code_is_answered(server, code, reason):
    with connect(server.url) as client:
        client.close(code, reason)
        assert client.close_code == code
        assert client.protocol.close_rcvd.code == code


def test_a_broken_rule_is_answered_with_its_close_code(server):
    for message, code in [(b"\xff", 1007), (b"x" * (1024 * 1024 + 1), 1009)]:
        with connect(server.url) as client, pytest.raises(ConnectionClosed) as caught:
            client.send(message, text=True)
            client.recv(timeout=TIMEOUT_S)
        assert caught.value.rcvd.code == code
    assert hello(server)[0] == 200


def test_other_requests_get_a_hello(server):
    status, kind, body = hello(server)
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    assert body.startswith(b"Hello.")


def test_a_foreign_page_is_refused(server):
    with pytest.raises(InvalidStatus) as caught:
        connect(server.url, origin="https://foreign.example")
    assert caught.value.response.status_code == 403
    with connect(server.url, origin=f"http://127.0.0.1:{server.port}") as client:
        client.send("ours")
        assert client.recv(timeout=TIMEOUT_S) == "ours"


def test_an_old_websocket_version_is_told_the_right_one(server):
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=TIMEOUT_S)
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    client.request("GET", "/", headers=headers | {"Sec-WebSocket-Version": "8"})
    response = client.getresponse()
    assert (response.status, response.getheader("Sec-WebSocket-Version")) == (426, "13")
    client.close()


def test_sigterm_closes_every_websocket_with_1001_and_ends_the_program(server):
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server.url)) for _ in range(10)]
        for client in clients:
            client.send("still here")
            assert client.recv(timeout=TIMEOUT_S) == "still here"
        server.process.send_signal(signal.SIGTERM)
        for client in clients:
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(timeout=TIMEOUT_S)
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1001, "the server stops")
    output, _ = server.process.communicate(timeout=TIMEOUT_S)
    assert output.endswith("stopped\n")
    assert server.process.returncode == 0


def test_sigterm_without_clients_ends_the_program(server):
    assert server.terminate().endswith("stopped\n")
    assert server.process.returncode == 0


def test_the_engine_s_threads_leave_signals_to_the_program(server):
    """SIGPIPE in the front's thread would kill a plain C program; SIGTERM there would be lost for it."""
    threads = {"fairlead-front", "fairlead-loop"}
    blocked: dict[str, int] = {}
    deadline = time.monotonic() + TIMEOUT_S
    while not threads <= blocked.keys() and time.monotonic() < deadline:  # a thread names itself when it first runs
        for task in Path(f"/proc/{server.process.pid}/task").iterdir():
            mask = re.search(r"^SigBlk:\s*(\w+)$", (task / "status").read_text(), re.MULTILINE)
            blocked[(task / "comm").read_text().strip()] = int(mask[1], 16)
    for thread in sorted(threads):
        for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT):
            assert blocked[thread] >> (number - 1) & 1, f"{thread} takes {number!r}"


def test_clients_that_reset_their_connection_do_not_end_the_program(server):
    for _ in range(50):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert hello(server)[0] == 200


def test_an_address_in_use_is_an_error_with_a_sentence(server, program):
    taken = f"127.0.0.1:{server.port}"
    second = subprocess.run([program, taken], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert second.returncode == 1
    assert f'cannot listen on "{taken}"' in second.stderr
