"""Rows of the conformance checklist (compat §9) that no other file holds; each test names its row.

The other rows: 1, 6 and 7 in test_websocket_rows.py, 5 in test_module_rows.py, 12 in test_channel_rows.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from end_to_end.http_wire import get
from fairlead.settings.options import Settings
from support import uwsgi_client
from support.raw_client import CLOSE, PING, PONG, TEXT, Frame, RawClient, close_payload
from support.runners import Runner, every_read_path, every_runner
from support.server import Server

RECV = "unable to receive websocket message"
SEND = "unable to send websocket message"


@pytest.fixture(scope="session")
def server(serve: Callable[..., Server]) -> Server:
    return serve("uwsgi_checklist.py")


@pytest.mark.parametrize("kind", ["str", "bytes"])
@pytest.mark.parametrize("origin", ["", "http://origin.example"])
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_handshake_takes_up_to_three_arguments_of_str_or_bytes(
    server: Server, upgrade: Callable[..., RawClient], token: str, count: int, origin: str, kind: str
) -> None:
    """compat §9, row 2."""
    headers = [("Sec-WebSocket-Protocol", "chat.v0, chat.v1")]
    client = upgrade(server, f"/handshake?{token}&{count},{kind},{origin}", headers=headers)
    assert server.note(token) == {"result": {"type": "NoneType", "value": "None"}}
    # The third argument chooses; without it the first offer is taken.
    assert client.response.header("Sec-WebSocket-Protocol") == ("chat.v1" if count == 3 else "chat.v0")
    client.send_text("works")
    assert client.read_data() == Frame(TEXT, b"works")


# -- row 8: pings

QUICK = ("--websockets-ping-freq", "0.4", "--websockets-pong-tolerance", "1", "--websockets-pong-freq", "0")


@every_read_path
def test_an_idle_client_is_pinged_and_lives_by_its_pongs(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient]
) -> None:
    """compat §9, row 8; 30 s are the default, which nobody can wait for here."""
    client = upgrade(serve("uwsgi_checklist.py", *QUICK), "/echo")
    for _ in range(3):
        found = client.read_frame()
        assert found.opcode == PING
        client.send(PONG, found.payload)
    client.send_text("alive")
    assert client.read_data() == Frame(TEXT, b"alive")


def test_by_default_pings_go_out_every_30_seconds_and_pongs_have_3() -> None:
    """compat §9, row 8."""
    assert (Settings.websockets_ping_freq_s, Settings.websockets_pong_tolerance_s) == (30.0, 3.0)


@every_read_path
def test_a_silent_client_is_dropped_and_the_calls_raise(
    serve: Callable[..., Server], upgrade: Callable[..., RawClient], token: str
) -> None:
    """compat §9, row 8."""
    server = serve("uwsgi_checklist.py", *QUICK)
    client = upgrade(server, f"/until_the_end?{token}")
    assert client.read_frame().opcode == PING
    assert client.read_rest() == b""
    found = server.note(token)
    for name, text in (("recv", RECV), ("recv_nb", RECV), ("send", SEND)):
        assert found[name] == {"raised": "OSError", "text": text, "is_oserror": True, "errno": None}


@every_runner
def test_an_app_that_never_reads_pings_too_and_its_next_send_raises(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], tmp_path: Path, token: str
) -> None:
    """compat §9, row 8."""
    server = start("uwsgi_checklist.py", *QUICK)
    fifo = tmp_path / "release"
    os.mkfifo(fifo)
    client = upgrade(server, f"/never_reads?{token}&{fifo}")
    server.note(token)
    found = client.read_frame()
    assert found.opcode == PING
    client.send(PONG, found.payload)
    assert client.read_frame().opcode == PING
    assert client.read_rest() == b""
    with open(fifo, "w"):
        pass
    assert server.note(f"{token}-again")["send"]["text"] == SEND


# -- row 9: what the wire sees at the end


@every_runner
@pytest.mark.parametrize("page", ["returns_body", "yields_body", "writes_body", "starts_response"])
def test_nothing_of_a_result_gets_onto_the_wire_after_the_handshake(
    server: Server, upgrade: Callable[..., RawClient], page: str
) -> None:
    """compat §9, row 9: 1000 after a return."""
    client = upgrade(server, f"/{page}")
    assert client.read_frame() == Frame(CLOSE, close_payload(1000))
    client.send_close(1000)
    assert client.read_rest() == b""


@every_read_path
def test_an_exception_closes_with_1011(server: Server, upgrade: Callable[..., RawClient]) -> None:
    """compat §9, row 9."""
    client = upgrade(server, "/raises")
    assert client.read_close()[0] == 1011
    client.send_close(1011)
    assert client.read_rest() == b""


@every_runner
@pytest.mark.parametrize(("how", "code"), [("stop", 1001), ("reload", 1012)])
def test_a_stop_closes_with_1001_and_a_reload_with_1012(
    start: Callable[..., Server], upgrade: Callable[..., RawClient], token: str, how: str, code: int
) -> None:
    """compat §9, row 9; 1012 instead of 1001 tells the client to come again (§2.5, row 12)."""
    server = start("uwsgi_checklist.py")
    client = upgrade(server, f"/until_the_end?{token}")
    get(server, f"/{how}")
    assert client.read_close()[0] == code
    client.send_close(code)
    assert client.read_rest() == b""
    assert server.note(token)["recv"]["text"] == RECV


# -- row 11: environ keys

ALWAYS = {
    "REQUEST_METHOD": "str", "REQUEST_URI": "str", "SERVER_PROTOCOL": "str", "PATH_INFO": "str",
    "QUERY_STRING": "str", "SCRIPT_NAME": "str", "SERVER_NAME": "str", "SERVER_PORT": "str", "REMOTE_ADDR": "str",
    "HTTP_HOST": "str", "wsgi.version": "tuple", "wsgi.url_scheme": "str", "wsgi.input": "Input",
    "wsgi.errors": "TextIOWrapper", "wsgi.file_wrapper": "type", "wsgi.run_once": "bool", "wsgi.multithread": "bool",
    "wsgi.multiprocess": "bool", "uwsgi.version": "bytes", "uwsgi.node": "bytes", "uwsgi.core": "int",
    "fairlead.request": "Request",
}  # fmt: skip
BY_LISTENER = {"--http": {"UWSGI_ROUTER": "str", "REMOTE_PORT": "str"}, "--http-socket": {}}
BY_REQUEST: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "plain": ((), {}),
    "body": (
        ("Content-Type: a/b", "Content-Length: 2"),
        {"CONTENT_TYPE": "str", "CONTENT_LENGTH": "str"},
    ),
    "headers": (("X-One: 1", "X-One: 2"), {"HTTP_X_ONE": "str"}),
}


#: What PEP 3333 and the server itself make up on the other listeners, and a packet may leave out.
SENT_ONLY = {"SCRIPT_NAME"}


@pytest.mark.parametrize("what", BY_REQUEST)
@pytest.mark.parametrize("listen", BY_LISTENER)
def test_the_environ_has_these_keys_of_these_types_and_no_others(
    serve: Callable[..., Server], listen: str, what: str
) -> None:
    """compat §9, row 11."""
    server = serve("uwsgi_checklist.py", listen=(listen, "127.0.0.1:0"))
    lines, more = BY_REQUEST[what]
    found = keys_of(server, *lines)
    # What only asynchronous models have is theirs to test.
    found = {key: kind for key, kind in found.items() if not key.startswith("x-wsgiorg.")}
    assert found == {**ALWAYS, **BY_LISTENER[listen], **more}


def test_the_environ_of_a_packet_has_its_keys_and_the_servers_own(serve: Callable[..., Server]) -> None:
    """compat §9, row 11: as sent, for the entry kind `--socket`."""
    server = serve("uwsgi_checklist.py", listen=("--socket", "127.0.0.1:0"))
    more = (("HTTP_X_ONE", "1"), ("HTTPS", "on"), ("SERVER_ADDR", "127.0.0.1"), ("MY_OWN", ""))
    sent = dict(uwsgi_client.variables("/environ", *more))
    answer = uwsgi_client.ask(server, uwsgi_client.packet(sent.items()))
    found: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
    found = {key: kind for key, kind in found.items() if not key.startswith("x-wsgiorg.")}
    ours = {key: kind for key, kind in ALWAYS.items() if key not in SENT_ONLY}
    assert found == {**ours, **dict.fromkeys(sent, "str")}


@every_runner
def test_the_environ_of_a_worker_with_one_core_has_no_core_number(start: Callable[..., Server], runner: Runner) -> None:
    """compat §9, row 11."""
    slots = runner.with_slots(1)
    assert "uwsgi.core" not in keys_of(start("uwsgi_checklist.py", *slots))


def keys_of(server: Server, *lines: str) -> dict[str, str]:
    with RawClient(server.connect()) as client:
        head = "\r\n".join(["POST /environ HTTP/1.1", f"Host: {server.host_header}", *lines, "Connection: close"])
        client.send_bytes(head.encode() + b"\r\n\r\n" + (b"{}" if "Content-Length: 2" in lines else b""))
        assert client.read_response().status == 200
        found: dict[str, Any] = json.loads(client.read_rest())
    assert found.pop("HTTP_CONNECTION") == "str"
    return found
