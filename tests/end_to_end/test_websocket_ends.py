"""How a WebSocket ends, seen from both sides: close codes on the wire, ConnectionClosed in the app, lines in
the log.

Codes are those of compat §2.5, row 12: 1000 when the app returns, 1011 when it raises. A peer
that goes without a word is told apart from one that closes. Stop and reload are in test_processes.py.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from end_to_end.http_wire import get
from support.raw_client import BINARY, CLOSE, TEXT, Frame, RawClient, frame, handshake_request
from support.runners import every_read_path, every_runner, one_runner
from support.server import Server

pytestmark = every_read_path


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("sockets.py")


@pytest.fixture
def dial(server: Server, upgrade: Callable[..., RawClient]) -> Callable[[str], RawClient]:
    return lambda path: upgrade(server, path)


@every_runner
@pytest.mark.parametrize("path", ["/returns", "/returns_none", "/speaks"])
def test_an_app_that_returns_closes_with_1000_and_sends_no_body(dial: Callable[[str], RawClient], path: str) -> None:
    client = dial(path)
    found = client.read_data()
    if found.opcode == TEXT:
        found = client.read_data()
    assert found == Frame(CLOSE, b"\x03\xe8")
    client.send_close(1000)
    client.read_end()


def test_tcp_ends_as_soon_as_the_peer_has_answered_the_close(dial: Callable[[str], RawClient]) -> None:
    client = dial("/returns")
    assert client.read_close()[0] == 1000
    client.send_close(1000)
    # RFC 6455 §7.1.1; the close time-out of 5 s is for peers that do not answer.
    client.socket.settimeout(3)
    client.read_end()


@every_runner
def test_a_client_that_ends_its_side_behind_its_close_gets_what_was_sent_and_the_answer(
    dial: Callable[[str], RawClient], token: str
) -> None:
    """Chromium does so inside HTTP/2: END_STREAM comes with its Close."""
    client = dial(f"/sends_until_closed?{token}")
    for _ in range(3):
        assert client.read_data().opcode == BINARY
    client.send_close(4000)
    client.socket.shutdown(socket.SHUT_WR)
    found = client.read_data()
    while found.opcode == BINARY:
        found = client.read_data()
    assert found == Frame(CLOSE, b"\x0f\xa0")
    client.read_end()


@every_runner
def test_a_generator_is_run_and_its_items_never_reach_the_wire(dial: Callable[[str], RawClient]) -> None:
    client = dial("/generator")
    for text in (b"a", b"b"):
        client.send_text(text)
        assert client.read_data() == Frame(TEXT, text)
    client.close_in_order()


def test_write_and_start_response_after_the_handshake_reach_nobody(
    server: Server, dial: Callable[[str], RawClient], token: str
) -> None:
    client = dial(f"/writes?{token}")
    assert client.read_data() == Frame(TEXT, b"only this")
    assert client.read_close()[0] == 1000
    assert "raised" not in server.note(token)["late"], "a framework answers after its view, whatever the view did"


def test_an_error_page_after_the_handshake_closes_with_1011(dial: Callable[[str], RawClient]) -> None:
    client = dial("/answers_500")
    client.send_text("go")
    assert client.read_close() == (1011, "")


@every_runner
@pytest.mark.parametrize("path", ["/raises", "/raises_in_with"])
def test_an_app_that_raises_closes_with_1011_and_is_logged(
    server: Server, dial: Callable[[str], RawClient], path: str
) -> None:
    since = server.mark()
    client = dial(path)
    client.send_text("go")
    code, reason = client.read_close()
    assert (code, reason) == (1011, "")
    server.wait_for_line(rf"{path}: the application raised ValueError: raised on purpose", since)
    server.wait_for_line(r"^\tValueError: raised on purpose", since)


@every_runner
def test_system_exit_ends_one_websocket_only(server: Server, dial: Callable[[str], RawClient]) -> None:
    other = dial("/echo")
    assert dial("/exits").read_close()[0] in (1001, 1011)
    other.send_text("still here")
    assert other.read_data() == Frame(TEXT, b"still here")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, "κόσμε"), (4999, "x" * 123)])
def test_an_app_may_close_with_a_code_and_a_reason(
    server: Server, dial: Callable[[str], RawClient], token: str, code: int, reason: str
) -> None:
    client = dial(f"/closes?{token}&{code},{quote(reason)}")
    found, text = client.read_close()
    assert found == code
    assert text == quote(reason)[:123] or text == reason
    client.send_close(code)
    client.read_end()
    notes = server.note(token)
    assert notes["first"] == notes["again"] == {"type": "NoneType", "value": "None"}
    assert notes["send"]["raised"] == "ConnectionClosed"


@one_runner
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
def test_an_app_cannot_close_with_a_code_that_must_not_travel(
    server: Server, dial: Callable[[str], RawClient], token: str, code: int
) -> None:
    client = dial(f"/closes?{token}&{code},")
    assert server.note(token)["first"]["raised"] == "ValueError"
    assert client.read_close()[0] == 4000


@one_runner
def test_a_code_beyond_16_bits_is_refused(server: Server, dial: Callable[[str], RawClient], token: str) -> None:
    client = dial(f"/closes?{token}&70000,")
    assert server.note(token)["first"]["raised"] == "ValueError"
    assert client.read_close()[0] == 4000


def end_of(server: Server, client: RawClient, token: str, how: Callable[[RawClient], object]) -> dict[str, Any]:
    client.send_text("one")
    client.send_text("two")
    how(client)
    notes = server.note(token)
    assert notes["messages"] == ["one", "two"]
    assert notes["before"] is None
    assert notes["closed"] == notes["end"]
    for verb in ("receive", "nowait", "send"):
        assert notes[verb]["raised"] == "ConnectionClosed", verb
    assert notes["close"]["value"] == "None"
    end: dict[str, Any] = notes["end"]
    return end


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [(1000, "", (1000, "")), (1001, "leaving", (1001, "leaving")), (4321, "κόσμε", (4321, "κόσμε")),
     (None, "", (1005, ""))],
)  # fmt: skip
def test_connection_closed_tells_code_reason_and_that_the_peer_closed(
    server: Server,
    dial: Callable[[str], RawClient],
    token: str,
    code: int | None,
    reason: str,
    expected: tuple[int, str],
) -> None:
    end = end_of(server, dial(f"/ends?{token}"), token, lambda client: client.send_close(code, reason))
    assert (end["code"], end["reason"], end["by"]) == (*expected, "peer")
    assert str(expected[0]) in end["text"]


@every_runner
@pytest.mark.parametrize("how", [RawClient.close, RawClient.abort], ids=["eof", "reset"])
def test_connection_closed_tells_1006_and_that_the_connection_was_lost(
    server: Server, dial: Callable[[str], RawClient], token: str, how: Callable[[RawClient], None]
) -> None:
    client = dial(f"/ends?{token}")
    client.send_text("one")
    client.send_text("two")
    if how is RawClient.abort:
        # A reset may destroy what was not read yet; make sure that it was.
        client.send(9, b"read?")
        assert client.read_frame().payload == b"read?"
    how(client)
    end = server.note(token)["end"]
    assert (end["code"], end["by"]) == (1006, "lost")


def test_connection_closed_tells_the_rule_that_the_peer_broke(
    server: Server, dial: Callable[[str], RawClient], token: str
) -> None:
    since = server.mark()

    def break_a_rule(client: RawClient) -> None:
        client.send(TEXT, b"", rsv=4)
        client.expect_failure(1002)
        client.close()  # or the server waits for the answer to its Close

    end = end_of(server, dial(f"/ends?{token}"), token, break_a_rule)
    assert (end["code"], end["by"]) == (1002, "local")
    assert end["reason"]
    line = server.wait_for_line(rf"/ends\?{token}: closed with 1002", since).string
    assert "127.0.0.1:" in line


def test_iteration_ends_quietly_when_the_peer_closes(
    server: Server, dial: Callable[[str], RawClient], token: str
) -> None:
    client = dial(f"/iterates?{token}")
    client.send_text("a")
    client.close_in_order()
    assert server.note(token) == {"messages": ["a"], "raised": None}


@every_runner
def test_iteration_raises_when_the_peer_vanishes(server: Server, dial: Callable[[str], RawClient], token: str) -> None:
    client = dial(f"/iterates?{token}")
    client.send_text("a")
    client.close()
    notes = server.note(token)
    assert notes["messages"] == ["a"]
    assert (notes["raised"]["code"], notes["raised"]["by"]) == (1006, "lost")


def test_a_second_handshake_is_refused_and_the_first_lives_on(
    server: Server, dial: Callable[[str], RawClient], token: str
) -> None:
    client = dial(f"/twice?{token}")
    assert client.read_data() == Frame(TEXT, b"once")
    assert server.note(token)["second"]["raised"] == "RuntimeError"
    assert client.read_close()[0] == 1000


def test_a_peer_that_never_answers_a_close_is_cut_after_the_close_timeout(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    server = serve("sockets.py", "--websockets-close-timeout", "1")
    client = upgrade(server, "/returns")
    assert client.read_close()[0] == 1000
    assert client.read_rest() == b""


def test_a_message_that_the_app_has_not_read_survives_the_peers_close(
    server: Server, dial: Callable[[str], RawClient], token: str
) -> None:
    client = dial(f"/ends?{token}")
    data = b"".join(frame(TEXT, b"%d" % number) for number in range(50))
    client.send_bytes(data + frame(CLOSE, b"\x03\xe8"))
    assert client.read_close()[0] == 1000
    notes = server.note(token)
    assert notes["messages"] == [str(number) for number in range(50)]


# -- the log


def session_line(server: Server, path: str, since: int) -> re.Match[str]:
    return server.wait_for_line(
        rf'session: 127\.0\.0\.1:\d+ "{re.escape(path)}" 101, ([\d.]+) s, '
        r"received (\d+) messages (\d+) bytes \((\d+) on the wire\), "
        r"sent (\d+) messages (\d+) bytes \((\d+) on the wire\), (.*)$",
        since,
    )


def line_peer(client: RawClient) -> str:
    host, port = client.socket.getsockname()
    return f"{host}:{port}"


def test_a_session_leaves_one_line_with_its_counters_and_end(
    server: Server, dial: Callable[[str], RawClient], token: str
) -> None:
    since = server.mark()
    client = dial(f"/echo?{token}")
    for _ in range(3):
        client.send_text("12345")
        client.read_data()
    client.send_close(4000, 'x"\n')
    client.read_close()
    line = session_line(server, f"/echo?{token}", since)
    # A masked frame of 5 bytes has 11, an unmasked one 7; the Close has 11 and its answer 4.
    assert line.groups()[1:7] == ("3", "15", "44", "3", "15", "25")
    assert line[8] == r'closed 4000 "x\"\n" by client'
    assert f"session: {line_peer(client)} " in line.string


@pytest.mark.parametrize(("path", "end"), [("/returns", "closed 1000 by app"), ("/raises_at", "closed 1011 by app")])
def test_the_session_line_says_who_closed(
    server: Server, dial: Callable[[str], RawClient], token: str, path: str, end: str
) -> None:
    since = server.mark()
    path = path.replace("raises_at", "raises")
    client = dial(f"{path}?{token}")
    client.send_text("go")
    client.read_close()
    assert session_line(server, f"{path}?{token}", since)[8] == end


def test_a_lost_session_is_logged_as_lost(server: Server, dial: Callable[[str], RawClient], token: str) -> None:
    since = server.mark()
    dial(f"/echo?{token}").abort()
    assert session_line(server, f"/echo?{token}", since)[8] == "lost by client: connection reset"


@one_runner
def test_the_session_line_says_which_rule_the_client_broke(
    server: Server, dial: Callable[[str], RawClient], token: str
) -> None:
    since = server.mark()
    client = dial(f"/echo?{token}")
    client.send_bytes(b"\x81\x01x")
    client.read_close()
    end = session_line(server, f"/echo?{token}", since)[8]
    assert end == 'closed 1002 "frame without a mask" by server: violation'


@one_runner
def test_a_request_leaves_one_line_with_status_and_size(server: Server, token: str) -> None:
    since = server.mark()
    get(server, f"/missing?{token}")
    found = server.wait_for_line(
        rf'request: 127\.0\.0\.1 "GET /missing\?{token} HTTP/1\.1" 404, 13 bytes in [\d.]+ ms$', since
    )
    assert found


@one_runner
def test_a_refused_handshake_is_logged_with_the_status_that_was_sent(server: Server, token: str) -> None:
    since = server.mark()
    with RawClient(server.connect()) as client:
        client.send_bytes(
            handshake_request(server.host_header, f"/echo?{token}", replace={"Sec-WebSocket-Version": "8"})
        )
        assert client.read_response().status == 426
    server.wait_for_line(rf'request: 127\.0\.0\.1 "GET /echo\?{token} HTTP/1\.1" 426,', since)


@one_runner
def test_a_path_cannot_forge_a_log_line(server: Server, token: str) -> None:
    since = server.mark()
    get(server, f'/mis"sing\\n?{token}')
    line = server.wait_for_line(rf"request: .*sing.*{token}", since).string
    assert '/mis\\"sing\\\\n?' in line


def test_disable_logging_leaves_errors_only(serve: Callable[..., Server], upgrade: Callable[..., RawClient]) -> None:
    server = serve("sockets.py", "--disable-logging", "--disable-session-logging")
    client = upgrade(server, "/raises?quiet")
    client.send_text("go")
    assert client.read_close()[0] == 1011
    server.wait_for_line("the application raised ValueError")
    upgrade(server, "/returns").read_close()
    assert not [line for line in server.lines if "session:" in line or "request:" in line]


@one_runner
@pytest.mark.parametrize(
    ("option", "written", "silent"),
    [("--disable-logging", "session", "request"), ("--disable-session-logging", "request", "session")],
)
def test_lines_of_requests_and_of_websockets_are_switched_apart(
    serve: Callable[..., Server],
    upgrade: Callable[..., RawClient],
    token: str,
    option: str,
    written: str,
    silent: str,
) -> None:
    server = serve("sockets.py", option)
    get(server, f"/missing?{token}")
    upgrade(server, f"/returns?{token}").read_close()
    get(server, f"/missing?{token}")
    server.wait_for_line(rf" {written}: .*{token}")
    assert not [line for line in server.lines if f" {silent}: " in line and token in line]
