"""`--static-map`: files of a folder without the application, and nothing else of the machine."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from end_to_end.http_wire import Answer, get
from support.runners import named
from support.server import APPS, Server

#: More than one block of sendfile, and more than a socket takes at once.
LARGE = os.urandom(3_000_001)


@pytest.fixture(scope="module", params=named("greenlets", "threads"), ids=str)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("site")
    files = folder / "files"
    (files / "sub").mkdir(parents=True)
    (files / "page.html").write_text("<p>page</p>")
    (files / "empty.txt").touch()
    (files / "with blank.txt").write_text("blank")
    (files / "large.bin").write_bytes(LARGE)
    (files / "unknown.ending-that-nobody-has").write_text("?")
    (files / "sub" / "index.html").write_text("<p>index</p>")
    (files / "inside.txt").symlink_to(files / "page.html")
    (folder / "secret.txt").write_text("secret")
    (files / "outside.txt").symlink_to(folder / "secret.txt")
    (files / "outside").symlink_to(folder)
    os.mkfifo(files / "fifo")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(files / "socket"))
    maps = (
        "--static-map",
        f"/page.ico={files / 'page.html'}",
        "--static-map",
        f"/static={files}",
        "--static-map",
        f"/static/more/={folder}",
        "--static-index",
        "index.html",
    )
    server = Server.start("routed.py", *request.param.options, *maps)
    yield server
    server.stop()
    listener.close()


def app_answered(answer: Answer) -> bool:
    return answer.status == 200 and b'"PATH_INFO"' in answer.body


def test_files_come_with_type_length_and_validators(site):
    answer = get(site, "/static/page.html")
    assert (answer.status, answer.body) == (200, b"<p>page</p>")
    assert answer.header("Content-Type") == "text/html; charset=utf-8"
    assert answer.header("Content-Length") == "11"
    assert answer.header("Last-Modified") and answer.header("ETag") and answer.header("Accept-Ranges") == "bytes"
    assert get(site, "/static/empty.txt").body == b""
    assert get(site, "/static/with%20blank.txt").body == b"blank"
    assert get(site, "/static/large.bin").body == LARGE
    assert get(site, "/static/unknown.ending-that-nobody-has").header("Content-Type") == "application/octet-stream"
    assert get(site, "/static/inside.txt").body == b"<p>page</p>"
    head = get(site, "/static/page.html", method="HEAD")
    assert (head.status, head.header("Content-Length")) == (200, "11")


def test_an_index_stands_for_its_folder_and_the_first_map_that_has_a_file_counts(site):
    assert get(site, "/static/sub/").body == b"<p>index</p>"
    assert get(site, "/static/sub").body == b"<p>index</p>"
    assert get(site, "/static/more/secret.txt").body == b"secret"


@pytest.mark.parametrize(
    "path",
    [
        "/static",
        "/static/",
        "/static/nothing.txt",
        "/staticpage.html",
        "/static/page.html/",
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/sub/../../secret.txt",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/outside.txt",
        "/static/outside/secret.txt",
        "/static/fifo",
        "/static/socket",
        "/static/page.html%00.txt",
        "/static/" + "x" * 5000,
    ],
)
def test_what_is_no_file_of_the_folder_goes_to_the_application(site, path):
    assert app_answered(get(site, path)), path


def test_a_file_that_is_mapped_alone_is_served_at_its_path_alone(site):
    answer = get(site, "/page.ico")
    assert (answer.status, answer.body) == (200, b"<p>page</p>")
    for path in ("/page.ico/", "/page.icon", "/page.ico/page.html"):
        assert app_answered(get(site, path)), path


def test_a_path_names_the_same_file_however_it_is_written(site):
    for path in (
        "/static/./page.html",
        "//static//page.html",
        "/%2e/static/sub/../page.html",
        "/x/..%2Fstatic/page.html",
    ):
        assert get(site, path).body == b"<p>page</p>", path


def test_other_methods_go_to_the_application(site):
    assert app_answered(get(site, "/static/page.html", method="POST", body=b"x"))


def test_who_has_the_file_is_told_so(site):
    first = get(site, "/static/page.html")
    tag, date = first.header("ETag"), first.header("Last-Modified")
    for line in (f"If-None-Match: {tag}", f"If-Modified-Since: {date}", f'If-None-Match: "x", W/{tag}'):
        answer = get(site, "/static/page.html", line)
        assert (answer.status, answer.body, answer.header("ETag")) == (304, b"", tag), line
    for line in ('If-None-Match: "other"', f"If-Modified-Since: {formatdate(0, usegmt=True)}"):
        assert get(site, "/static/page.html", line).status == 200, line


def test_who_wants_the_file_as_it_was_is_told_that_it_is_not(site):
    first = get(site, "/static/page.html")
    tag, date = first.header("ETag"), first.header("Last-Modified")
    old = formatdate(0, usegmt=True)
    for line in ('If-Match: "other"', f"If-Match: W/{tag}", f"If-Unmodified-Since: {old}"):
        answer = get(site, "/static/page.html", line, "Range: bytes=0-1")
        assert (answer.status, answer.body) == (412, b""), line
    for lines in ((f'If-Match: "x", {tag}',), ("If-Match: *",), (f"If-Unmodified-Since: {date}",)):
        assert get(site, "/static/page.html", *lines).status == 200, lines
    assert get(site, "/static/page.html", f"If-Match: {tag}", f"If-None-Match: {tag}").status == 304
    head = get(site, "/static/page.html", "Range: bytes=0-1", method="HEAD")
    assert (head.status, head.header("Content-Length"), head.header("Content-Range")) == (200, "11", None)


def test_a_range_is_a_part_of_the_file(site):
    answer = get(site, "/static/large.bin", "Range: bytes=1000-1999")
    assert (answer.status, answer.body) == (206, LARGE[1000:2000])
    assert answer.header("Content-Range") == f"bytes 1000-1999/{len(LARGE)}"
    assert get(site, "/static/large.bin", "Range: bytes=-10").body == LARGE[-10:]
    assert get(site, "/static/large.bin", "Range: bytes=2000000-").body == LARGE[2_000_000:]
    beyond = get(site, "/static/large.bin", f"Range: bytes={len(LARGE)}-")
    assert (beyond.status, beyond.header("Content-Range")) == (416, f"bytes */{len(LARGE)}")
    assert get(site, "/static/large.bin", "Range: bytes=0-1,5-6").status == 200
    tag = answer.header("ETag")
    assert get(site, "/static/large.bin", "Range: bytes=0-1", f"If-Range: {tag}").status == 206
    assert get(site, "/static/large.bin", "Range: bytes=0-1", 'If-Range: "old"').status == 200


def test_a_changed_file_is_sent_as_it_is_now(tmp_path: Path):
    (tmp_path / "file.txt").write_text("one")
    with Server.start("routed.py", "--static-map", f"/={tmp_path}") as server:
        first = get(server, "/file.txt")
        (tmp_path / "file.txt").write_text("three")
        second = get(server, "/file.txt", f"If-None-Match: {first.header('ETag')}")
        assert (first.body, second.status, second.body) == (b"one", 200, b"three")


def test_routes_come_before_files(tmp_path: Path):
    (tmp_path / "file.txt").write_text("one")
    rules = ("--route", "^/static/private return:403", "--route", "^/short rewrite:/static/file.txt")
    with Server.start("routed.py", "--static-map", f"/static={tmp_path}", *rules) as server:
        assert get(server, "/short").body == b"one"
        for path in ("/static/private", "/static/./private/x", "//static/private", "/%2e/static/private/x"):
            assert get(server, path).status == 403, path


@pytest.mark.parametrize(
    ("folder", "why"), [("/no/such/folder", "cannot be read"), ("/dev/null", "neither a folder nor a file")]
)
def test_a_folder_that_is_none_stops_the_start(folder, why):
    server = Server.launch(
        "--wsgi-file", str(APPS / "routed.py"), "--http", "127.0.0.1:0", "--static-map", f"/static={folder}"
    )
    server.process.wait(20)
    assert server.process.returncode != 0
    server.wait_for_line(why)
