"""Files as responses end to end: `wsgi.file_wrapper` (PEP 3333), `uwsgi.sendfile` (compat §1.4) and
`fairlead.send_file`.

Large files take the way through the kernel, so what arrives is compared byte by byte, and each test says what became of
the file object.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from end_to_end.http_wire import Answer, get, read_answer, request
from faults.machine import open_files, private_mib, wait_until
from support.raw_client import RawClient
from support.runners import Runner, every_read_path, every_runner, one_runner
from support.server import Server

pytestmark = every_runner

SIZE = 5_000_001


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("files.py")


@pytest.fixture(scope="session")
def content() -> bytes:
    """Of which no two ranges are the same."""
    return random.Random(1).randbytes(SIZE)


@pytest.fixture(scope="session")
def large(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "large"
    path.write_bytes(content)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small"
    path.write_bytes(b"a small file")
    return path


@pytest.fixture
def page(server: Server, token: str) -> Iterator[Callable[..., Answer]]:
    """The answer of the page of that name for this test's token, a file, and numbers."""

    def ask(name: str, *arguments: object, **how: str) -> Answer:
        return get(server, f"/{name}?{token}&{'+'.join(map(str, arguments))}", **how)

    yield ask


# -- wsgi.file_wrapper


def test_a_file_is_sent_whole_with_its_length_and_closed_unread(
    server: Server, page: Callable[..., Answer], token: str, large: Path, content: bytes
) -> None:
    answer = page("wrapped", large)
    assert answer.body == content
    assert (answer.header("Content-Length"), answer.header("Transfer-Encoding")) == (str(SIZE), None)
    # Nothing of it went through Python: the position is where the app left it.
    assert server.note(token) == {"closed": True, "position": 0}


@one_runner
def test_a_small_file_is_sent_too(server: Server, page: Callable[..., Answer], token: str, small: Path) -> None:
    answer = page("wrapped", small, 2)
    assert (answer.body, answer.header("Content-Length")) == (b"small file", "10")
    assert server.note(token)["closed"] is True


def test_a_file_is_sent_from_where_it_was_read_to(page: Callable[..., Answer], large: Path, content: bytes) -> None:
    answer = page("wrapped", large, 4_000_000)
    assert answer.body == content[4_000_000:]
    assert page("wrapped_half_read", large).body == content[10:]


@one_runner
def test_the_apps_length_limits_what_is_sent(
    server: Server, page: Callable[..., Answer], large: Path, content: bytes, token: str
) -> None:
    answer = page("wrapped", large, 1000, 100_000)
    assert (answer.body, answer.header("Content-Length")) == (content[1000:101_000], "100000")
    assert server.note(token) == {"closed": True, "position": 1000}


@one_runner
def test_a_file_shorter_than_the_apps_length_ends_the_connection(
    page: Callable[..., Answer], large: Path, content: bytes
) -> None:
    answer = page("wrapped", large, 0, SIZE + 1)
    assert answer.body == content
    assert not answer.is_complete


@every_read_path
def test_what_was_written_before_comes_before(page: Callable[..., Answer], large: Path, content: bytes) -> None:
    answer = page("wrapped_after_write", large)
    assert answer.body == b"written before, " + content
    assert answer.framing == "chunked"


def test_keep_alive_serves_files_one_after_the_other(server: Server, large: Path, small: Path, content: bytes) -> None:
    with RawClient(server.connect()) as client:
        for _ in range(3):
            client.send_bytes(request(server, f"/wrapped?t&{large}") + request(server, f"/wrapped?t&{small}"))
            assert read_answer(client).body == content
            assert read_answer(client).body == b"a small file"


@one_runner
def test_http_1_0_gets_the_file_and_the_end(server: Server, large: Path, content: bytes) -> None:
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/wrapped?t&{large}", version="1.0"))
        assert read_answer(client).body == content
        client.read_end()


@one_runner
@pytest.mark.parametrize("is_large", [True, False])
def test_head_gets_the_length_and_no_body(server: Server, token: str, large: Path, small: Path, is_large: bool) -> None:
    path, length = (large, SIZE) if is_large else (small, 12)
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/wrapped?{token}&{path}", method="HEAD") + request(server, "/has_wrapper"))
        assert read_answer(client, "HEAD").header("Content-Length") == str(length)
        assert read_answer(client).body == b"True"
    assert server.note(token)["closed"] is True


@one_runner
def test_a_unix_socket_serves_files_too(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory,
                                        runner: Runner, large: Path, content: bytes) -> None:  # fmt: skip
    path = tmp_path_factory.mktemp("socket") / "s"
    server = serve("files.py", listen=("--http", "127.0.0.1:0", "--http-socket", str(path)))
    assert get(server, f"/wrapped?t&{large}", listener=1).body == content


@one_runner
def test_an_unflushed_temporary_file_is_sent_as_the_app_sees_it(page: Callable[..., Answer]) -> None:
    assert page("wrapped_temporary").body == b"T" + b"t" * 99_999


@one_runner
def test_a_file_object_that_changes_what_it_reads_is_read(page: Callable[..., Answer]) -> None:
    assert page("wrapped_gzip").body == b"unpacked" * 50_000


@one_runner
def test_what_is_no_file_of_a_disk_is_iterated(page: Callable[..., Answer]) -> None:
    assert page("wrapped_bytes").body == b"b" * 200_000
    assert page("wrapped_pipe").body == b"from a pipe"


@one_runner
def test_files_of_the_kernel_are_sent_as_long_as_they_are(page: Callable[..., Answer]) -> None:
    version = Path("/proc/version")
    assert page("wrapped", version).body == version.read_bytes()
    queue = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if queue.exists():  # says it had 4096 bytes
        assert page("wrapped", queue).body == queue.read_bytes()


@one_runner
def test_a_text_file_is_no_body(server: Server, page: Callable[..., Answer], small: Path) -> None:
    since = server.mark()
    assert page("wrapped_text", small).status == 500
    server.wait_for_line(r"the application's result has 'a small file' \(str\) among its items", since)


@one_runner
def test_a_file_that_cannot_be_read_is_the_apps_failure(page: Callable[..., Answer], large: Path) -> None:
    assert page("wrapped_for_writing", large).status == 500


@one_runner
def test_an_exception_in_close_is_logged_and_the_file_stands(
    server: Server, page: Callable[..., Answer], large: Path, content: bytes
) -> None:
    since = server.mark()
    assert page("wrapped_that_cannot_close", large).body == content
    server.wait_for_line("ValueError: raised in close", since)


def test_close_is_called_when_the_client_leaves(server: Server, token: str, tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/wrapped?{token}&{path}"))
        client.read_response()
    assert server.note(token) == {"closed": True, "position": 0}


def test_a_file_that_shrinks_while_it_is_sent_cuts_the_connection(server: Server, token: str, tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(b"s" * (64 << 20))
    since = server.mark()
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"/wrapped?{token}&{path}"))
        client.read_response()
        os.truncate(path, 100_000)
        answer = client.read_rest()
    assert 100_000 <= len(answer) < 64 << 20
    assert answer[:100_000] == b"s" * 100_000
    server.wait_for_line("the response was cut: the file ended too early", since)
    assert server.note(token)["closed"] is True


@every_read_path
def test_slow_clients_take_neither_memory_nor_each_others_time(
    start: Callable[..., Server], large: Path, content: bytes, tmp_path: Path
) -> None:
    server = start("files.py")
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    get(server, f"/wrapped?t&{large}")
    (worker,) = server.worker_pids()
    before, files_before = private_mib(worker), open_files(worker)
    slow = [RawClient(server.connect()) for _ in range(20)]
    for client in slow:
        client.send_bytes(request(server, f"/wrapped?t&{path}"))
        client.read_response()
    # Each task waits with its file, and others are served.
    assert get(server, f"/wrapped?t&{large}").body == content
    grown = private_mib(worker) - before
    assert grown < 20, f"20 files of a GiB that nobody reads took {grown} MiB"
    for client in slow:
        client.close()
    wait_until(lambda: open_files(worker) <= files_before, "the files and connections of clients that left are closed")


@one_runner
def test_the_file_wrapper_can_be_left_out(serve: Callable[..., Server]) -> None:
    assert get(serve("files.py", "--wsgi-disable-file-wrapper"), "/has_wrapper").body == b"False"


# -- uwsgi.sendfile


@pytest.mark.parametrize("numbers", [(), (0, 0, 0), (4096, 1, 0), (0, 0, 1_000_000), (32768, 4_999_999, 100)])
def test_sendfile_sends_a_range_of_a_path(
    server: Server, page: Callable[..., Answer], token: str, large: Path, content: bytes, numbers: tuple[int, ...]
) -> None:
    _, position, size = (*numbers, 0, 0, 0)[:3]
    answer = page("sendfile", large, *numbers)
    assert answer.body == content[position : position + (size or SIZE)] + b"behind"
    assert server.note(token)["result"] == {"type": "bool", "value": "True"}


def test_sendfile_takes_open_files_from_their_beginning(
    server: Server, page: Callable[..., Answer], token: str, large: Path, content: bytes
) -> None:
    answer = page("sendfile_of_files", large)
    assert answer.body == b"before " + content + content[1:3] + b" after"
    found = server.note(token)
    assert (found["file"]["value"], found["descriptor"]["value"], found["position"]) == ("True", "True", 5)


@one_runner
def test_sendfile_answers_none_for_what_cannot_be_sent(
    server: Server, page: Callable[..., Answer], token: str, small: Path
) -> None:
    assert page("sendfile_outcomes", small).body == b"nothing of it was sent"
    found = server.note(token)
    assert [found[name].get("value") for name in ("missing", "folder", "empty", "pipe", "memory", "closed")] == [
        "None"
    ] * 6
    assert [found[name].get("raised") for name in ("number", "nothing", "none")] == ["TypeError"] * 3


@one_runner
def test_sendfile_needs_a_status_first(server: Server, page: Callable[..., Answer], token: str, small: Path) -> None:
    assert page("sendfile_first", small).body == b"."
    assert server.note(token)["result"]["raised"] == "RuntimeError"


def test_send_file_says_how_much_it_sent_and_what_is_wrong(
    server: Server, page: Callable[..., Answer], large: Path, content: bytes, token: str
) -> None:
    answer = page("send_file", large, 3, 200_000)
    assert (answer.body, answer.framing) == (content[3:200_003], "length")
    assert server.note(token)["result"] == {"type": "int", "value": "200000"}


@one_runner
def test_send_file_raises_what_is_wrong(server: Server, page: Callable[..., Answer], small: Path, token: str) -> None:
    assert page("send_file_outcomes", small).body == b"nothing of it was sent"
    found = server.note(token)
    assert found["missing"]["raised"] == "FileNotFoundError"
    assert (found["folder"]["raised"], found["before"]["raised"]) == ("IsADirectoryError", "ValueError")
    assert found["beyond"] == {"type": "int", "value": "0"}
