"""wsgiref's validator between the server and applications: neither side breaks a rule of PEP 3333.

The server's side is what these tests are about: the environ, `wsgi.input` and `wsgi.errors`, what `start_response`
gives, and that the result is iterated and closed. The examples stand for applications of WebSockets; that they are
valid is theirs to show. Examples that are async def are no WSGI.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from end_to_end.http_wire import chunks, get, read_answer, request
from support.raw_client import TEXT, Frame, RawClient
from support.runners import every_runner
from support.server import Server

pytestmark = every_runner

BODY = b"one two\nthree\nfour\nfive\nsix"
READ = b"one |two\n|thr|ee\n|four\n|five\n|six"


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("validated.py")


def broken_rules(server: Server, since: int) -> list[str]:
    return [
        line
        for line in server.lines[since:]
        if "AssertionError" in line or "garbage collected" in line or "WSGIWarning" in line
    ]


def test_corner_cases_break_no_rule_on_the_server_s_side(server: Server) -> None:
    since = server.mark()
    body = b"one, two"
    for path, status, expected in (
        ("a_list", 200, body),
        ("a_generator", 200, body),
        ("an_iterator_with_close", 200, body),
        ("nothing", 200, b""),
        ("no_content", 204, b""),
        ("not_modified", 304, b""),
        ("writes", 200, body),
        ("a_file", 200, body),
        ("changes_its_mind", 503, body),
        ("complains", 200, b"."),
    ):
        answer = get(server, f"/corners/{path}?x=%20")
        assert (answer.status, answer.body, answer.is_complete) == (status, expected, True), path
        if path != "writes":
            assert get(server, f"/corners/{path}", method="HEAD").status == status, path
    server.wait_for_line("^closed in order$", since)
    server.wait_for_line("^one, two$", since)
    assert broken_rules(server, since) == []


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
def test_every_call_of_the_input_is_a_valid_one(server: Server, is_chunked: bool) -> None:
    since = server.mark()
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(BODY)}"
    with RawClient(server.connect()) as client:
        lines = (framing, "Content-Type: text/plain", "X-Twice: 1", "X-Twice: 2")
        sent = chunks(BODY[:5], BODY[5:]) if is_chunked else BODY
        client.send_bytes(request(server, "/corners/reads", *lines, method="POST") + sent)
        assert read_answer(client).body == READ
    assert broken_rules(server, since) == []


def test_the_validator_is_really_there(server: Server) -> None:
    since = server.mark()
    assert get(server, "/corners/breaks_a_rule").status == 500
    server.wait_for_line("AssertionError: No Content-Type header found", since)


def test_examples_break_no_rule(server: Server, upgrade: Callable[..., RawClient]) -> None:
    since = server.mark()
    for name in ("echo", "echo_fairlead", "through", "chat", "cursors"):
        assert get(server, f"/{name}/").status == 200
    for name in ("chat", "cursors"):
        assert get(server, f"/{name}/channels.js").status == 200
        assert get(server, f"/{name}/nowhere").status == 404
    for name in ("echo", "echo_fairlead", "through"):
        client = upgrade(server, f"/{name}/")
        if name == "through":
            assert json.loads(client.read_data().payload)["SCRIPT_NAME"] == "/through"
        for word in (b"one", b"two"):
            client.send_text(word.decode())
            assert client.read_data() == Frame(TEXT, word)
        client.close_in_order()
    client = upgrade(server, "/chat/?name=Ada")
    assert json.loads(client.read_data().payload)["name"] == "Ada"
    client.send_close(1000)
    client = upgrade(server, "/cursors/")
    assert client.read_data().payload.split()[0].isdigit()
    client.send_close(1000)
    for name in ("echo", "echo_fairlead", "through", "chat", "cursors"):
        server.wait_for_line(rf'session: .*"/{name}/', since)
    assert broken_rules(server, since) == []
