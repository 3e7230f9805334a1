#!/usr/bin/env python3
"""Resident memory of one worker with 0, 1,000 and 5,000 idle WebSockets, under each concurrency model.

`docs/explain/concurrency.md` shows the table that this prints. Unlike the row of `run.py`, which compares the greenlet
runner with other servers, it looks at the worker process alone, and each connection has echoed one small message before
it falls idle, as real ones have. A KiB here depends on Python's version and the C library more than on the machine.
Needs Linux and a Python with Fairlead; loopback only, and every server that it starts it ends.

    .venv/bin/python benches/idle_memory.py                 all models
    .venv/bin/python benches/idle_memory.py threads gevent  these alone
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import resource
import socket
import sys
import time
from pathlib import Path

from harness import machine
from harness.servers import Recipe, ServerFailed, running

APPS = Path(__file__).with_name("apps")
COUNTS = (0, 1000, 5000)
SLOTS = str(COUNTS[-1] + 20)
TIMEOUT_S = 30.0

#: Name, options, application.
MODELS = {
    "greenlets": (("--async", SLOTS, "--greenlet"), "echo_uwsgi.py"),
    "generators": (("--async", SLOTS), "echo_generator.py"),
    "threads": (("--threads", SLOTS), "echo_uwsgi.py"),
    "gevent": (("--gevent", SLOTS), "echo_uwsgi.py"),
    "asyncio": (("--asyncio", SLOTS, "--asyncio-loop", "asyncio"), "echo_uwsgi.py"),
    "uvloop": (("--asyncio", SLOTS, "--asyncio-loop", "uvloop"), "echo_uwsgi.py"),
    "coroutines": (("--asyncio", SLOTS, "--asyncio-loop", "asyncio"), "echo_async.py"),
    "coroutines-uvloop": (("--asyncio", SLOTS, "--asyncio-loop", "uvloop"), "echo_async.py"),
}

MESSAGE = os.urandom(64)


def main() -> int:
    parser = argparse.ArgumentParser(description="Resident memory of one worker with idle WebSockets.")
    parser.add_argument("models", nargs="*", metavar="MODEL", help=", ".join(MODELS))
    chosen = parser.parse_args().models or list(MODELS)
    unknown = sorted(set(chosen) - set(MODELS))
    if unknown:
        parser.error(f"{', '.join(unknown)}: there are {', '.join(MODELS)}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    facts = machine.facts()
    print(f"commit {facts['commit']}, {facts['date']}, CPython {facts['harness python']}, {facts['kernel']}")
    print()
    print("| model | " + " | ".join(f"{count:,}" for count in COUNTS) + " | per connection |")
    print("|---|" + "---|" * (len(COUNTS) + 1))
    failed = False
    for name in chosen:
        try:
            sizes = measure(name)
        except (ServerFailed, OSError, EOFError) as error:
            print(f"| {name} | failed: {error} |")
            failed = True
            continue
        each = (sizes[-1] - sizes[0]) / COUNTS[-1]
        print(f"| {name} | " + " | ".join(f"{size:,} KiB" for size in sizes) + f" | {each:.1f} KiB |", flush=True)
    return int(failed)


def measure(name: str) -> list[int]:
    """KiB of resident memory at each of the counts."""
    options, app = MODELS[name]
    command = (sys.executable, "-m", "fairlead", "--http-socket", "127.0.0.1:{port}", "--disable-logging",
               "--listen", "1024", "--wsgi-file", str(APPS / app), *options)  # fmt: skip
    sizes = []
    peers: list[socket.socket] = []
    try:
        with running(Recipe(name, name, command), machine.two_cpus()[0]) as server:
            worker = max(server.pids())
            connect(server.port).close()  # what the first request loads does not count
            _settle(worker)
            for count in COUNTS:
                while len(peers) < count:
                    peers.append(connect(server.port))
                sizes.append(resident_kib(worker))
    finally:
        for peer in peers:
            peer.close()
    return sizes


def connect(port: int) -> socket.socket:
    """An open WebSocket that has echoed one message."""
    peer = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
    key = base64.b64encode(os.urandom(16)).decode()
    peer.sendall(
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += _some(peer, 1)
    if not head.startswith(b"HTTP/1.1 101 "):
        raise OSError(f"no handshake: {head[:80]!r}")
    # RFC 6455 §5.2: a final binary frame, masked with zeros.
    peer.sendall(bytes([0x82, 0x80 | len(MESSAGE), 0, 0, 0, 0]) + MESSAGE)
    answer = b""
    while len(answer) < 2 + len(MESSAGE):
        answer += _some(peer, 2 + len(MESSAGE) - len(answer))
    if answer != bytes([0x82, len(MESSAGE)]) + MESSAGE:
        raise OSError(f"no echo: {answer!r}")
    return peer


def _some(peer: socket.socket, size: int) -> bytes:
    data = peer.recv(size)
    if not data:
        raise EOFError("the server closed the connection")
    return data


def _settle(pid: int) -> None:
    """Waits until the worker has all its threads: it is ready before the last one has started."""
    before = -1
    while (now := _status(pid, "Threads")) != before:
        before = now
        time.sleep(0.5)


def resident_kib(pid: int) -> int:
    return _status(pid, "VmRSS")


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


if __name__ == "__main__":
    sys.exit(main())
