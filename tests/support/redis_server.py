"""Debian's redis-server as a process of the tests: on a UNIX socket, without persistence, gone with its fixture."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

from redis import Redis

from support.server import TIMEOUT_S


class RedisServer:
    """A running redis-server; a context manager. `socket` is its path."""

    def __init__(self) -> None:
        program = shutil.which("redis-server")
        assert program, "redis-server is missing: apt-get install -y redis-server"
        # Not pytest's folder: the path of a UNIX socket has to be short.
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self.socket = str(Path(self._folder.name) / "redis.sock")
        settings = {"port": "0", "unixsocket": self.socket, "save": "", "appendonly": "no", "dir": self._folder.name}
        self._process = subprocess.Popen(
            [program, *(word for name, value in settings.items() for word in (f"--{name}", value))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:
            said.append(line)
            if "now ready to accept connections" in line:
                break
        else:
            self._folder.cleanup()
            raise AssertionError("redis-server did not start:\n" + "".join(said))
        self.client = Redis(unix_socket_path=self.socket, decode_responses=True)

    def connections(self, name: str) -> list[int]:
        """The ids of the connections that wait for messages under this client name."""
        return [int(one["id"]) for one in self.client.client_list(_type="pubsub") if one["name"] == name]

    def cut(self, name: str) -> None:
        """Close the one connection on which `name` waits for messages."""
        (connection,) = self.connections(name)
        self.client.client_kill_filter(_id=str(connection))

    def stop(self) -> None:
        self.client.close()
        self._process.terminate()
        try:
            self._process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def __enter__(self) -> RedisServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
