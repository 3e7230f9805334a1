"""What a worker asks the kernel about itself."""

from __future__ import annotations

import os
import resource
import socket

import pytest
from fairlead.worker.kernel import memory, queue_length


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX])
def test_the_queue_of_a_listener_is_counted(family, tmp_path):
    address = (
        str(tmp_path / "socket")
        if family == socket.AF_UNIX
        else ("::1" if family == socket.AF_INET6 else "127.0.0.1", 0)
    )
    with socket.socket(family) as listener:
        listener.bind(address)
        listener.listen(8)
        clients = []
        for length in range(4):
            assert queue_length(listener.fileno()) == length
            client = socket.socket(family)
            clients.append(client)
            client.connect(listener.getsockname())
        listener.accept()[0].close()
        assert queue_length(listener.fileno()) == 3
        for client in clients:
            client.close()


def test_the_queue_of_what_is_no_socket_is_an_error():
    reader, writer = os.pipe()
    with pytest.raises(OSError):
        queue_length(reader)
    os.close(reader)
    os.close(writer)


def test_the_memory_is_known_when_no_descriptor_is_free():
    resident, virtual = memory()
    assert 0 < resident <= virtual
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError):
            os.open("/proc/self/statm", os.O_RDONLY)
        assert memory()[0] > 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
