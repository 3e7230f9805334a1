"""The log of a C program: standard error is a pipe that is full. The engine goes on, and so does a stop."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
from pathlib import Path

from c_binding.conftest import TIMEOUT_S

#: Each is a line of some 10,000 bytes; a pipe holds 64 KiB.
REFUSED = b"GET /" + b"x" * 10_000 + b"#fragment HTTP/1.1\r\nHost: x\r\n\r\n"


def refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as client:
        client.sendall(REFUSED)
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_log_that_nobody_reads_stops_nobody(program: Path) -> None:
    reader, writer = os.pipe()
    with subprocess.Popen([program, "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=writer, text=True) as process:
        os.close(writer)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            for _ in range(100):
                refused(port)
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
            client.request("GET", "/")
            assert client.getresponse().read()
            client.close()
            process.terminate()
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
    with open(reader, "rb") as log:
        text = log.read()
    assert re.match(rb"fairlead: warning: 127\.0\.0\.1:\d+: .*400", text), text[:200]
