"""Debian's nginx and HAProxy as processes of the tests, on the configurations of docs/howto/behind-a-proxy.md.

The text is the page's; what a test changes are addresses and time-outs, each by a replacement that has to find its text
once or more, so the page cannot drift away. A proxy inherits a socket that listens already: no port is guessed, and no
connection is refused while it starts. It runs in the foreground and in a folder of its own, touches nothing of the
machine's, and is stopped by its process id. A proxy is asked for connections like a `Server`, so a `RawClient` takes
either.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from documentation.pages import configurations

from support.server import TIMEOUT_S

PAGE = "howto/behind-a-proxy.md"

#: Where clients come from, so that a client's address is not the proxy's, which is 127.0.0.1.
CLIENT = "127.0.0.2"

#: What the clients call the server.
HOST = "chat.example.org"


class Proxy:
    """A running proxy; a context manager. `upstream` is an address of a `Server`."""

    #: How it is told to stop, and the status with which it then ends.
    stop_signal = signal.SIGTERM
    statuses: tuple[int, ...] = (0,)
    host_header = HOST

    def __init__(self, file: str, upstream: tuple[str, int] | str, replace: Mapping[str, str] | None = None) -> None:
        # Not pytest's folder: the path of a UNIX socket has to be short.
        self._cleanup = contextlib.ExitStack()
        self.folder = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="proxy-")))
        self._listener = self._cleanup.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        self.port: int = self._listener.getsockname()[1]
        text = configurations(PAGE)[file]
        # The test's own first: they know the page's text, not what becomes of it.
        for old, new in {**(replace or {}), **self._places(upstream)}.items():
            assert old in text, f"{file} of {PAGE} has no {old!r}"
            text = text.replace(old, new)
        self._log = (self.folder / "log").open("w+b")
        self._cleanup.callback(self._log.close)
        self.process = self._launch(text)

    def _places(self, upstream: tuple[str, int] | str) -> dict[str, str]:
        """The page's addresses, and what stands for them."""
        raise NotImplementedError

    def _launch(self, text: str) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def _start(self, words: list[str], environ: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=self.folder,
            env={**os.environ, **(environ or {})},
            pass_fds=[self._listener.fileno()],
            start_new_session=True,
        )

    def connect(self, listener: int = 0) -> socket.socket:
        """A new connection of a client."""
        assert self.process.poll() is None, f"the proxy has ended:\n{self.log()}"
        return socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S, source_address=(CLIENT, 0))

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def stop(self) -> None:
        """Stop it; a proxy that had ended by itself, or that does not end, fails the test."""
        try:
            assert self.process.poll() is None, f"the proxy has ended:\n{self.log()}"
            self.process.send_signal(self.stop_signal)
            try:
                status = self.process.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                raise AssertionError(f"the proxy did not stop:\n{self.log()}") from None
            assert status in self.statuses, (status, self.log())
        finally:
            self._cleanup.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.log())
        self.stop()


class Nginx(Proxy):
    """nginx, one worker, with the page's file in its `http` block as Debian's nginx.conf includes it."""

    def _places(self, upstream: tuple[str, int] | str) -> dict[str, str]:
        place = f"unix:{upstream}" if isinstance(upstream, str) else f"{upstream[0]}:{upstream[1]}"
        return {"listen 80;": f"listen 127.0.0.1:{self.port};", "127.0.0.1:8080": place}

    def _launch(self, text: str) -> subprocess.Popen[bytes]:
        (self.folder / "site.conf").write_text(text, encoding="utf-8")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        (self.folder / "nginx.conf").write_text(
            # A single process without its master crashes on inherited sockets (1.22.1), so there are two.
            f"daemon off; worker_processes 1; pid {self.folder}/pid; error_log stderr notice;\n"
            # The worker has to reach this folder.
            + ("user root root;\n" if os.geteuid() == 0 else "")
            + "events { worker_connections 1024; }\n"
            "http {\n    access_log off;\n"
            + "".join(f"    {kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
            + f"    include {self.folder}/site.conf;\n}}\n",
            encoding="utf-8",
        )
        # The variable is nginx's own way to hand listening sockets to a new binary.
        return self._start(
            [program("nginx"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"],
            {"NGINX": f"{self._listener.fileno()};"},
        )


class HAProxy(Proxy):
    """HAProxy in the foreground."""

    statuses = (0, 128 + signal.SIGTERM, -signal.SIGTERM)

    def _places(self, upstream: tuple[str, int] | str) -> dict[str, str]:
        place = f"unix@{upstream}" if isinstance(upstream, str) else f"{upstream[0]}:{upstream[1]}"
        return {"bind :80": f"bind fd@{self._listener.fileno()}", "127.0.0.1:8080": place}

    def _launch(self, text: str) -> subprocess.Popen[bytes]:
        (self.folder / "haproxy.cfg").write_text(text, encoding="utf-8")
        return self._start([program("haproxy"), "-db", "-f", str(self.folder / "haproxy.cfg")])


def program(name: str) -> str:
    """The path of a proxy's program; Debian has them where only root looks."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin")
    assert found, f"{name} is missing: apt-get install -y {name}"
    return found
