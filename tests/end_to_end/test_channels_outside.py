"""Channels from outside the workers: other programs over --channels-socket and --channels-http, the commands, and two
instances over one file. Real servers; the protocol's details are in tests/unit/test_channels_*.py."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from fairlead import channels
from fairlead.errors import ChannelsError
from faults.machine import wait_until
from support.raw_client import BINARY, TEXT, RawClient
from support.runners import DEFAULT
from support.server import APPS, TIMEOUT_S, Server

_PAUSE = threading.Event()
LISTEN = ("--wsgi-file", str(APPS / "rooms.py"), *DEFAULT.options, "--http", "127.0.0.1:0")


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    """`start(*options)`: a server with rooms."""
    running: list[Server] = []

    def own(*options: str) -> Server:
        server = Server.start("rooms.py", *DEFAULT.options, *options)
        running.append(server)
        return server

    yield own
    for server in running:
        server.stop()


@pytest.fixture
def socket_path(tmp_path) -> str:
    return str(tmp_path / "channels")


@pytest.fixture
def join() -> Iterator[Callable[[Server, str], RawClient]]:
    """A client that has joined a room."""
    with contextlib.ExitStack() as stack:

        def joined(server: Server, room: str) -> RawClient:
            client = stack.enter_context(RawClient.upgrade(server, f"/{room}"))
            assert client.read_data().payload == b"joined"
            return client

        yield joined


def command(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "fairlead", *arguments], input=stdin, capture_output=True, timeout=TIMEOUT_S
    )


def refused(*options: str) -> str:
    """What a start with these options ends with: one sentence and status 2."""
    found = command(*LISTEN, *options)
    assert found.returncode == 2, found
    lines = [one for one in found.stderr.decode().splitlines() if one.startswith("fairlead: ")]
    assert len(lines) == 1 and "Traceback" not in found.stderr.decode(), found.stderr
    return lines[0]


def eventually(check: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, "it did not come about"
        _PAUSE.wait(0.02)  # between two looks; the condition ends the wait, not the time


# -- another program


def test_another_program_reaches_the_clients_of_all_workers(start, socket_path, join):
    server = start("--processes", "2", "--channels-socket", socket_path)
    clients = [join(server, "r") for _ in range(6)]
    with channels.connect(socket_path) as remote:
        assert remote.members("r") == 6
        first = remote.publish("r", "grün")
        assert remote.publish("r", b"\x00\xff") == first + 1
        for client in clients:
            text, binary = client.read_data(), client.read_data()
            assert (text.opcode, text.payload) == (TEXT, "grün".encode())
            assert (binary.opcode, binary.payload) == (BINARY, b"\x00\xff")
        assert remote.history("r") == [(first, "grün"), (first + 1, b"\x00\xff")]
        facts = remote.list()
        assert [(one["name"], one["members"], one["messages"]) for one in facts["channels"]] == [("r", 6, 2)]
        eventually(lambda: sum(one["delivered"] for one in remote.list()["workers"]) == 12)
        assert {one["pid"] for one in facts["workers"]} <= set(server.worker_pids())


def test_another_program_hears_what_clients_say(start, socket_path, join):
    server = start("--channels-socket", socket_path)
    client = join(server, "r")
    with channels.connect(socket_path) as remote, remote.subscribe("r") as subscription:
        client.send_text("hello")
        message = subscription.receive(TIMEOUT_S)
        assert message is not None and message.data == "hello"
        assert subscription.receive(0.05) is None
        with remote.subscribe("r", since=message.offset - 1) as later:
            assert later.receive(TIMEOUT_S) == message and later.missed_before == 0


def test_the_socket_is_the_operator_s_and_goes_with_the_instance(start, socket_path):
    server = start("--channels-socket", socket_path)
    assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o600
    server.stop()
    assert not os.path.exists(socket_path)
    start("--channels-socket", socket_path, "--channels-socket-mode", "660")
    assert stat.S_IMODE(os.stat(socket_path).st_mode) == 0o660


def test_a_stale_socket_is_replaced_and_a_living_one_is_not(start, socket_path):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(socket_path)
    stale.close()
    start("--channels-socket", socket_path)
    assert "another process already listens there" in refused("--channels-socket", socket_path)
    with channels.connect(socket_path) as remote:
        assert remote.publish("r", "still served") > 0


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--channels-socket", "@abstract"), "it needs the path of a UNIX socket"),
        (("--channels-socket", "127.0.0.1:5000"), "it needs the path of a UNIX socket"),
        (("--channels-socket", "/" + "x" * 108), "at most 107 bytes"),
        (("--channels-socket", "no/such/folder"), "the folder does not exist"),
        (("--channels-socket-mode", "rw"), "an octal file mode"),
        (("--channels-http", "127.0.0.1:0"), "add --channels-http-token-file FILE"),
        (("--channels-http-token-file", "x"), "no use without --channels-http"),
        (("--channels-http", "127.0.0.1:0", "--channels-http-token-file", "no/such"), "no such file"),
        (("--channels-http", "127.0.0.1:0", "--channels-http-token-file", "/dev/null"), "is empty"),
        (("--channels-http", "127.0.0.1:0", "--channels-http-token-file", __file__), "holds no token"),
    ],
)
def test_an_option_that_cannot_be_is_one_sentence(options, part):
    assert part in refused(*options)


def test_a_program_connects_again_when_the_instance_was_restarted(start, socket_path):
    first = start("--channels-socket", socket_path)
    with channels.connect(socket_path) as remote, remote.subscribe("r") as subscription:
        old = remote.publish("r", "before")
        assert subscription.receive(TIMEOUT_S).data == "before"
        first.stop()
        with pytest.raises(ChannelsError, match=r"no such socket|nobody listens|has ended"):
            remote.publish("r", "nobody is there")
        start("--channels-socket", socket_path)
        # Offsets of another memory begin elsewhere, above or below.
        assert remote.publish("r", "after") != old
        # The memory was new, so nobody can say whether something is missing; what there is comes.
        assert subscription.receive(TIMEOUT_S).data == "after" and subscription.missed is None
        assert [one.data for one in remote.history("r")] == ["after"]


def test_a_message_or_a_name_that_cannot_be_is_a_value_error_and_the_next_call_works(start, socket_path):
    start("--channels-socket", socket_path, "--channels-max-message", "2")
    with channels.connect(socket_path) as remote:
        with pytest.raises(ValueError, match="2049 bytes, and 2048 are allowed"):
            remote.publish("r", b"x" * 2049)
        for name in ("", "x" * 256, "a\nb", "\ud800"):
            with pytest.raises(ValueError):
                remote.publish(name, "x")
        with pytest.raises(TypeError):
            remote.publish("r", 5)
        assert remote.history("r") == [] and remote.publish("r", b"x" * 2048) > 0


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody who has no right")
def test_a_socket_without_permission_is_told(start, tmp_path):
    folder = tmp_path / "open"
    for path in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(path, 0o755)
    folder.mkdir(mode=0o755)
    start("--channels-socket", str(folder / "socket_path"))
    child = os.fork()
    if child == 0:
        code = 1
        with contextlib.suppress(BaseException):
            os.setuid(65534)
            try:
                channels.connect(str(folder / "socket_path"))
            except ChannelsError as error:
                code = 0 if "permission denied" in str(error) else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_program_needs_neither_a_scheduler_nor_a_server():
    code = (
        "import sys; import fairlead.channels as c\n"
        "assert not {'greenlet', 'gevent', 'asyncio'} & set(sys.modules), set(sys.modules)\n"
        "try: c.connect('/no/such/socket')\n"
        "except c.ChannelsError as error: print(error)\n"
    ).replace("c.ChannelsError", "__import__('fairlead').ChannelsError")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=TIMEOUT_S)
    assert found.returncode == 0, found.stderr
    assert found.stdout.startswith(b"/no/such/socket: there is no such socket")


def test_a_reload_leaves_other_programs_alone(start, socket_path, join):
    server = start("--channels-socket", socket_path)
    with channels.connect(socket_path) as remote, remote.subscribe("r") as subscription:
        old = set(server.worker_pids())
        server.signal(signal.SIGHUP)
        # The log is quicker than an old worker, which could take the client and close it with 1012.
        wait_until(lambda: not old & set(server.worker_pids()), "the old worker ends")
        client = join(server, "r")
        remote.publish("r", "x")
        assert client.read_data().payload == b"x"
        assert subscription.receive(TIMEOUT_S).data == "x" and subscription.missed == 0


# -- the commands


def test_publish_prints_the_offset(start, socket_path):
    start("--channels-socket", socket_path)
    found = command("publish", "--to", socket_path, "r", "grün")
    assert found.returncode == 0, found.stderr
    first = int(found.stdout)
    assert int(command("publish", "--to", socket_path, "r", "-", stdin=b"from\nstdin\n").stdout) == first + 1
    assert command("publish", "--to", socket_path, "--binary", "r", "-", stdin=b"\x00\xff").returncode == 0
    assert command("publish", "--to", socket_path, "r", "--", "--binary").returncode == 0
    with channels.connect(socket_path) as remote:
        assert [one.data for one in remote.history("r")] == ["grün", "from\nstdin\n", b"\x00\xff", "--binary"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("publish",), "the following arguments are required: --to, CHANNEL, MESSAGE"),
        (("publish", "--to", "no/such", "r", "x"), "no/such: there is no such socket"),
        (("publish", "--to", "SOCKET", "", "x"), "1 to 255 bytes"),
        (("publish", "--to", "SOCKET", "r", "x", "y"), "unrecognized arguments: y"),
        (("publish", "--to", "SOCKET", "r", "-"), "is no UTF-8; add --binary"),
        (("publish", "--to", "/" + "x" * 200, "r", "x"), "x"),
        (("channels",), "the following arguments are required: --to"),
        (("channels", "--to", "no/such"), "no/such: there is no such socket"),
        (("channels", "--to", "/dev/null"), "/dev/null: "),
    ],
)
def test_a_command_that_cannot_be_is_one_sentence_and_status_2(start, socket_path, arguments, part):
    if "SOCKET" in arguments:
        start("--channels-socket", socket_path)
    found = command(*(socket_path if one == "SOCKET" else one for one in arguments), stdin=b"\xff")
    error = found.stderr.decode()
    assert found.returncode == 2 and not found.stdout, found
    assert error.startswith("fairlead: ") and part in error and error.count("\n") == 1, error


def test_the_commands_have_a_help():
    for name in ("publish", "channels"):
        found = command(name, "--help")
        assert found.returncode == 0 and found.stdout.startswith(f"usage: fairlead {name} ".encode())


def test_a_file_of_a_command_s_name_is_served_when_it_is_named_as_an_option(tmp_path, socket_path):
    app = tmp_path / "publish"
    app.write_text((APPS / "rooms.py").read_text())
    server = Server.launch("--wsgi-file", str(app), *DEFAULT.options, "--http", "127.0.0.1:0")
    with server:
        server.wait_until_ready()


def test_channels_prints_channels_with_rates_and_workers(start, socket_path, join):
    server = start("--processes", "2", "--channels-socket", socket_path)
    client = join(server, "room:7")
    stop = threading.Event()

    def talk() -> None:
        with channels.connect(socket_path) as remote:
            while not stop.wait(0.02):
                remote.publish("room:7", "x" * 10)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        client.read_data()
        found = command("channels", "--to", socket_path)
    finally:
        stop.set()
        thread.join(TIMEOUT_S)
    assert found.returncode == 0, found.stderr
    text = found.stdout.decode()
    assert re.search(r"^CHANNEL +MEMBERS +MESSAGES +PER SECOND +BYTES +OFFSET$", text, re.MULTILINE)
    row = re.search(r"^room:7 +1 +(\d+) +([\d.]+) +(\d+) +\d+$", text, re.MULTILINE)
    assert row and int(row[3]) == 10 * int(row[1]) and 5 < float(row[2]) < 60, text
    assert re.search(r"^WORKER +LAG \(BYTES\) +DELIVERED +DROPPED +OVERTAKEN$", text, re.MULTILINE)
    assert {int(pid) for pid in re.findall(r"^(\d+) +\d+ +\d+ +0 +0$", text, re.MULTILINE)} <= set(server.worker_pids())


def test_watch_goes_on_until_ctrl_c(start, socket_path):
    start("--channels-socket", socket_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "fairlead", "channels", "--to", socket_path, "--watch"],
        stdout=subprocess.PIPE,
        # As a terminal starts it: who runs the tests in the background has SIGINT ignored, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    seen = 0
    while seen < 2:
        line = process.stdout.readline()
        assert line, "it ended"
        seen += line.startswith(b"CHANNEL")
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0
    process.stdout.close()


# -- HTTP


def http(url: str, token: str = "s3cret", data: bytes | None = None, kind: str = "text/plain"):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=TIMEOUT_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_http_publishes_and_looks_back_with_the_token_only(start, tmp_path, join):
    (tmp_path / "token").write_text("s3cret\n")
    server = start("--channels-http", "127.0.0.1:0", "--channels-http-token-file", str(tmp_path / "token"))
    base = "http://" + server.wait_for_line(r"--channels-http at (\S+)")[1]
    client = join(server, "r")
    status, published = http(f"{base}/channels/r", data="grün".encode())
    assert status == 200 and client.read_data().payload == "grün".encode()
    assert http(f"{base}/channels/r", data=b"\xff", kind="application/octet-stream")[0] == 200
    assert client.read_data() == (BINARY, b"\xff", True)
    status, found = http(f"{base}/channels/r?since={published['offset'] - 1}")
    assert [one.get("text", one.get("binary")) for one in found["messages"]] == ["grün", "/w=="]
    assert http(f"{base}/channels/r", token="wrong", data=b"x") == (
        401,
        {"error": "the header Authorization needs Bearer and the token"},
    )
    assert http(f"{base}/channels/r", data=b"x" * (2**20 + 1))[0] == 413
    assert http(f"{base}/elsewhere")[0] == 404
    # The same paths at the application's own address are the application's.
    with urllib.request.urlopen(server.url("/channels/r", "http"), timeout=TIMEOUT_S) as answer:
        assert answer.read() == b"0"


# -- two instances


def kill_instance(server: Server) -> None:
    """The whole instance at once, as a machine without memory does."""
    pids = [server.process.pid, *server.worker_pids()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # or the master would start another worker in between
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    server.wait_for_end()


def test_instances_that_share_a_file_share_their_channels_whatever_becomes_of_one(start, tmp_path, join):
    file, paths = str(tmp_path / "shared"), [str(tmp_path / name) for name in "ab"]
    first, second = (start("--channels-file", file, "--channels-socket", socket_path) for socket_path in paths)
    here, there = join(first, "r"), join(second, "r")
    with channels.connect(paths[0]) as one, channels.connect(paths[1]) as two:
        offsets = [one.publish("r", "from one"), two.publish("r", "from two")]
        assert offsets[1] == offsets[0] + 1
        for client in (here, there):
            assert [client.read_data().payload for _ in range(2)] == [b"from one", b"from two"]
        there.send_text("from a client")
        assert here.read_data().payload == there.read_data().payload == b"from a client"
        assert one.members("r") == two.members("r") == 2

        kill_instance(first)
        with pytest.raises(ChannelsError):
            one.publish("r", "nobody")
        assert two.publish("r", "goes on") == offsets[1] + 2
        assert there.read_data().payload == b"goes on"
        eventually(lambda: two.members("r") == 1)  # the survivor's master notices
        assert {row["pid"] for row in two.list()["workers"]} <= set(second.worker_pids())

        again = start("--channels-file", file, "--channels-socket", paths[0])
        back = join(again, "r")
        assert one.publish("r", "back") == offsets[1] + 3
        assert back.read_data().payload == there.read_data().payload == b"back"
        assert [message.data for message in one.history("r")][:2] == ["from one", "from two"]

        again.stop()
        assert two.members("r") == 1 and two.publish("r", "alone") == offsets[1] + 4
        assert there.read_data().payload == b"alone"


def test_the_members_of_a_dead_instance_are_forgotten_without_a_socket_as_well(start, tmp_path, join):
    file = str(tmp_path / "shared")
    first, second = start("--channels-file", file), start("--channels-file", file)
    join(first, "r")
    join(second, "r")

    def members() -> bytes:
        with urllib.request.urlopen(second.url("/r", "http"), timeout=TIMEOUT_S) as answer:
            return answer.read()

    assert members() == b"2"
    kill_instance(first)
    eventually(lambda: members() == b"1")


def test_an_instance_killed_while_it_publishes_stops_nobody(start, tmp_path, join):
    file, paths = str(tmp_path / "shared"), [str(tmp_path / name) for name in "ab"]
    first, second = (start("--channels-file", file, "--channels-socket", socket_path) for socket_path in paths)
    there = join(second, "r")
    published = threading.Event()

    def talk() -> None:
        with channels.connect(paths[0]) as remote, contextlib.suppress(ChannelsError):
            while True:
                remote.publish("r", b"x" * 1000)
                published.set()

    thread = threading.Thread(target=talk)
    thread.start()
    assert published.wait(TIMEOUT_S)
    kill_instance(first)
    thread.join(TIMEOUT_S)
    with channels.connect(paths[1]) as remote:
        last = remote.publish("r", "last")
        found = remote.history("r")
        assert [message.offset for message in found] == list(range(found[0].offset, last + 1))
    while there.read_data().payload != b"last":
        pass


@pytest.mark.parametrize("kind", ["garbage", "version", "folder", "nowhere"])
def test_a_file_that_cannot_be_shared_is_one_sentence_and_left_as_it_is(start, tmp_path, kind):
    path = tmp_path / "shared"
    part = {
        "garbage": "it is no file of channels",
        "version": "of the format and this release uses version",
        "folder": "is a directory",
        "nowhere": "no such file or directory",
    }[kind]
    if kind == "garbage":
        path.write_bytes(b"precious" * 100_000)
    elif kind == "version":
        start("--channels-file", str(path)).stop()
        data = bytearray(path.read_bytes())
        data[8:12] = (99).to_bytes(4, sys.byteorder)  # the second word of the header: crates/channel/src/layout.rs
        path.write_bytes(data)
    elif kind == "folder":
        path.mkdir()
    else:
        path = tmp_path / "no" / "shared"
    before = path.read_bytes() if path.is_file() else None
    sentence = refused("--channels-file", str(path))
    assert f"--channels-file {path}: " in sentence and part in sentence
    assert (path.read_bytes() if path.is_file() else None) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be two users")
@pytest.mark.parametrize("kind", ["owner", "permission", "606", "620"])
def test_a_file_of_somebody_else_is_one_sentence(start, tmp_path, kind):
    for folder in (tmp_path, *tmp_path.parents[:2]):
        os.chmod(folder, 0o755)
    shared = tmp_path / "shared"
    start("--channels-file", str(shared)).stop()
    if kind == "owner":
        os.chown(shared, 65534, 65534)
        sentence = refused("--channels-file", str(shared))
        part = "it belongs to user 65534 and this process runs as user 0"
    elif kind != "permission":
        os.chmod(shared, int(kind, 8))
        sentence = refused("--channels-file", str(shared))
        part = f"others than its owner may write it (its mode is {kind}), and with it what clients get; chmod go-w"
    else:
        sentence = refused("--channels-file", str(shared), "--uid", "65534", "--gid", "65534")
        part = "permission denied"
    assert f"--channels-file {shared}: " in sentence and part in sentence
