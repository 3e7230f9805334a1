"""RFC 6455 §4.2 over the wire: which requests become a WebSocket, what the others are told, and what may
follow.

A refused handshake costs its connection only, gets the status that fits the rule, and leaves a log line with
peer, path and rule. Bytes that a client pipelines behind its handshake are frames, and none of them may be
lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.raw_client import (
    BINARY,
    TEXT,
    Frame,
    RawClient,
    Response,
    accept_value,
    close_payload,
    frame,
    handshake_request,
)
from support.runners import every_read_path
from support.server import Server

pytestmark = every_read_path


@pytest.fixture
def ask(echo: Server) -> Iterator[Callable[..., Response]]:
    """Send a handshake, answer the response's head."""
    clients: list[RawClient] = []

    def ask(path: str = "/always", **how: object) -> Response:
        client = RawClient(echo.connect())
        clients.append(client)
        client.send_bytes(handshake_request(echo.host_header, path, **how))  # type: ignore[arg-type]
        return client.read_response()

    yield ask
    for client in clients:
        client.close()


def test_the_example_of_the_rfc_is_answered_as_in_the_rfc(ask: Callable[..., Response]) -> None:
    response = ask()
    assert (response.version, response.status, response.reason) == ("HTTP/1.1", 101, "Switching Protocols")
    assert response.header("Upgrade") == "websocket"
    assert response.header("Connection").lower() == "upgrade"
    assert response.header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert response.header("Sec-WebSocket-Protocol") is None
    assert response.header("Sec-WebSocket-Extensions") is None
    assert response.header("Content-Length") is None
    assert response.header("Transfer-Encoding") is None


@pytest.mark.parametrize("header", ["Host", "Connection", "Sec-WebSocket-Key"])
def test_a_missing_header_is_refused_with_400(ask: Callable[..., Response], header: str) -> None:
    assert ask(without=[header]).status == 400


def test_a_missing_upgrade_is_answered_with_426_that_names_it(ask: Callable[..., Response]) -> None:
    response = ask(without=["Upgrade"])
    assert response.status == 426
    assert response.header("Upgrade") == "websocket"


@pytest.mark.parametrize("version", [None, "0", "7", "8", "12", "14", "013", "13, 8", "x", ""])
def test_another_version_is_answered_with_426_and_the_right_one(
    ask: Callable[..., Response], version: str | None
) -> None:
    if version is None:
        response = ask(without=["Sec-WebSocket-Version"])
    else:
        response = ask(replace={"Sec-WebSocket-Version": version})
    assert response.status == 426
    # RFC 6455 §4.4
    assert response.header("Sec-WebSocket-Version") == "13"


@pytest.mark.parametrize(
    "key",
    ["", "short", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25jZTE3", "a" * 24,
     "dGhlIHNhbXBsZSBub25j!Q==", "dGhlIHNhbXBs ZSBub25jZQ=="],
)  # fmt: skip
def test_a_key_that_is_not_sixteen_bytes_in_base64_is_refused(ask: Callable[..., Response], key: str) -> None:
    assert ask(key=key).status == 400


def test_two_keys_are_refused(ask: Callable[..., Response]) -> None:
    assert ask(headers=[("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]).status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "HEAD", "OPTIONS", "DELETE"])
def test_another_method_is_refused_with_405(ask: Callable[..., Response], method: str) -> None:
    response = ask(method=method)
    assert response.status == 405
    # RFC 9110 §15.5.6
    assert response.header("Allow") == "GET"


def test_http_1_0_is_never_upgraded(ask: Callable[..., Response]) -> None:
    response = ask(version="HTTP/1.0")
    assert response.status in (400, 426, 505)


@pytest.mark.parametrize("upgrade", ["h2c", "websockets", "web socket", "xwebsocket"])
def test_another_protocol_is_not_upgraded(ask: Callable[..., Response], upgrade: str) -> None:
    assert ask(replace={"Upgrade": upgrade}).status == 426


@pytest.mark.parametrize("upgrade", ["websocket", "WebSocket", "WEBSOCKET", "h2c, websocket"])
def test_the_upgrade_header_is_a_list_in_any_case(ask: Callable[..., Response], upgrade: str) -> None:
    assert ask(replace={"Upgrade": upgrade}).status == 101


@pytest.mark.parametrize("value", ["Upgrade", "upgrade", "UPGRADE", "keep-alive, Upgrade", "Upgrade,close"])
def test_the_connection_header_is_a_list_in_any_case(ask: Callable[..., Response], value: str) -> None:
    assert ask(replace={"Connection": value}).status == 101


@pytest.mark.parametrize("value", ["keep-alive", "close", "upgraded", ""])
def test_a_connection_header_without_upgrade_is_refused(ask: Callable[..., Response], value: str) -> None:
    assert ask(replace={"Connection": value}).status in (400, 426)


def test_header_names_in_any_case_are_understood(echo: Server) -> None:
    key = "AQIDBAUGBwgJCgsMDQ4PEC=="  # RFC 6455 §4.1 has this one, whose last bits are not zero
    with RawClient(echo.connect()) as client:
        client.send_bytes(
            f"GET / HTTP/1.1\r\nHOST: {echo.host_header}\r\nuPGRADE: WebSocket\r\nconnection: upgrade\r\n"
            f"SEC-WEBSOCKET-KEY: {key}\r\nsec-websocket-version: 13\r\n\r\n".encode()
        )
        response = client.read_response()
        assert response.status == 101
        assert response.header("Sec-WebSocket-Accept") == accept_value(key)
        client.send_text("hello")
        assert client.read_data() == Frame(TEXT, b"hello")


@pytest.mark.parametrize("header", [("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Content-Length", "1")])
def test_a_body_on_an_upgrade_is_refused(ask: Callable[..., Response], header: tuple[str, str]) -> None:
    assert ask(headers=[header]).status == 400


def test_a_content_length_of_zero_is_no_body(ask: Callable[..., Response]) -> None:
    assert ask(headers=[("Content-Length", "0")]).status == 101


@pytest.mark.parametrize(
    ("offer", "chosen"),
    [("chat.v1", "chat.v1"), ("chat.v1, chat.v2", "chat.v2"), ("other, chat.v2", "chat.v2"), ("other", None),
     ("CHAT.V2", None), ("chat.v1,, ,chat.v2", "chat.v2")],
)  # fmt: skip
def test_the_servers_first_choice_among_the_offered_subprotocols_is_taken(
    ask: Callable[..., Response], offer: str, chosen: str | None
) -> None:
    response = ask("/offers", headers=[("Sec-WebSocket-Protocol", offer)])
    assert response.status == 101
    assert response.header("Sec-WebSocket-Protocol") == chosen


def test_subprotocols_may_be_offered_on_several_lines(ask: Callable[..., Response]) -> None:
    lines = [("Sec-WebSocket-Protocol", "chat.v1"), ("Sec-WebSocket-Protocol", "chat.v2")]
    assert ask("/offers", headers=lines).header("Sec-WebSocket-Protocol") == "chat.v2"


@pytest.mark.parametrize("offer", ["a b", "a/b", "chat.v2, chat.v2", "sm\xf8r"])
def test_a_malformed_offer_of_subprotocols_is_refused(ask: Callable[..., Response], offer: str) -> None:
    assert ask("/offers", headers=[("Sec-WebSocket-Protocol", offer)]).status == 400


def test_extensions_are_offered_in_vain(ask: Callable[..., Response]) -> None:
    response = ask(headers=[("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")])
    assert response.status == 101
    assert response.header("Sec-WebSocket-Extensions") is None


def test_a_page_of_the_same_origin_is_welcome(echo: Server, ask: Callable[..., Response]) -> None:
    assert ask(headers=[("Origin", f"http://{echo.host_header}")]).status == 101


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://", "", "https://"])
def test_a_page_of_another_origin_is_refused_with_403(ask: Callable[..., Response], origin: str) -> None:
    assert ask(headers=[("Origin", origin)]).status == 403


def test_a_refused_origin_is_logged_with_what_to_do(echo: Server, ask: Callable[..., Response]) -> None:
    since = echo.mark()
    assert ask("/always?logged", headers=[("Origin", "http://evil.example")]).status == 403
    line = echo.wait_for_line(r"/always\?logged: handshake refused", since).string
    assert "127.0.0.1:" in line and "http://evil.example" in line
    assert "--websockets-origin" in line


def test_a_refused_handshake_is_logged_with_peer_path_and_rule(echo: Server, ask: Callable[..., Response]) -> None:
    since = echo.mark()
    ask("/always?rule", replace={"Sec-WebSocket-Version": "8"})
    line = echo.wait_for_line(r"/always\?rule: handshake refused", since).string
    assert "127.0.0.1:" in line and "Sec-WebSocket-Version" in line


@pytest.mark.parametrize(
    ("options", "origin", "status"),
    [
        (("--websockets-origin", "https://app.example.org"), "https://app.example.org", 101),
        (("--websockets-origin", "https://app.example.org"), "http://app.example.org", 403),
        (("--websockets-origin", "https://app.example.org"), "https://other.example.org", 403),
        (("--websockets-origin", "https://app.example.org"), "null", 403),
        (("--websockets-origin", "*"), "https://anything.example", 101),
        (("--websockets-origin", "*"), "null", 101),
    ],
)
def test_websockets_origin_lets_others_in(
    serve: Callable[..., Server], options: tuple[str, ...], origin: str, status: int
) -> None:
    server = serve("echo_typed.py", *options)
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, headers=[("Origin", origin)]))
        assert client.read_response().status == status


def test_the_same_origin_stays_welcome_beside_an_allowed_one(serve: Callable[..., Server]) -> None:
    server = serve("echo_typed.py", "--websockets-origin", "https://app.example.org")
    with RawClient(server.connect()) as client:
        origin = ("Origin", f"http://{server.host_header}")
        client.send_bytes(handshake_request(server.host_header, headers=[origin]))
        assert client.read_response().status == 101


def test_frames_pipelined_behind_the_handshake_are_answered(echo: Server, upgrade: Callable[..., RawClient]) -> None:
    client = upgrade(echo, behind=frame(TEXT, b"early") + frame(BINARY, b"bird"))
    assert client.read_data() == Frame(TEXT, b"early")
    assert client.read_data() == Frame(BINARY, b"bird")
    client.close_in_order()


def test_half_a_frame_pipelined_behind_the_handshake_is_completed_later(
    echo: Server, upgrade: Callable[..., RawClient]
) -> None:
    data = frame(BINARY, b"x" * 300)
    client = upgrade(echo, behind=data[:5])
    client.send_bytes(data[5:])
    assert client.read_data() == Frame(BINARY, b"x" * 300)


def test_a_large_message_pipelined_behind_the_handshake_is_whole(
    echo: Server, upgrade: Callable[..., RawClient]
) -> None:
    client = upgrade(echo, behind=frame(BINARY, b"y" * 500_000))
    assert client.read_data() == Frame(BINARY, b"y" * 500_000)


def test_a_close_pipelined_behind_the_handshake_is_answered(echo: Server, upgrade: Callable[..., RawClient]) -> None:
    client = upgrade(echo, behind=frame(8, close_payload(1000)))
    assert client.read_close()[0] == 1000
    client.read_end()


def test_a_handshake_sent_octet_by_octet_is_accepted(echo: Server) -> None:
    with RawClient(echo.connect()) as client:
        client.send_octets(handshake_request(echo.host_header))
        assert client.read_response().status == 101


def test_frames_behind_a_refused_handshake_are_never_read_as_a_request(echo: Server) -> None:
    smuggled = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    with RawClient(echo.connect()) as client:
        request = handshake_request(echo.host_header, replace={"Sec-WebSocket-Version": "8"})
        client.send_bytes(request + smuggled)
        assert client.read_response().status == 426
        assert b"HTTP/1.1" not in client.read_rest()


def test_an_app_that_does_not_want_the_handshake_answers_plain_http(serve: Callable[..., Server]) -> None:
    server = serve("responses.py")
    with RawClient(server.connect()) as client:
        client.send_bytes(handshake_request(server.host_header, "/hello"))
        response = client.read_response()
        assert response.status == 200
        assert response.header("Upgrade") is None
        # What the client may have sent behind its handshake must not be taken for a request.
        assert response.header("Connection") == "close"


def test_a_websocket_comes_after_requests_on_the_same_connection(echo: Server) -> None:
    with RawClient(echo.connect()) as client:
        client.send_bytes(f"GET / HTTP/1.1\r\nHost: {echo.host_header}\r\n\r\n".encode())
        response = client.read_response()
        assert response.status == 200
        client.read_exactly(int(response.header("Content-Length") or 0))
        client.send_bytes(handshake_request(echo.host_header) + frame(TEXT, b"hello"))
        assert client.read_response().status == 101
        assert client.read_data() == Frame(TEXT, b"hello")
