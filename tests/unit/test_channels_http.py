"""A client of --channels-http, without its socket, over real channels in memory."""

from __future__ import annotations

import base64
import json

import pytest
from fairlead._native import Channels
from fairlead.channels.http import LONGEST_HEAD, HttpSession

LONGEST = 64 * 1024
TOKEN = "s3cret"
AUTHORIZED = f"Authorization: Bearer {TOKEN}"


@pytest.fixture
def channels() -> Channels:
    return Channels.in_memory(2**20, LONGEST)


@pytest.fixture
def session(channels) -> HttpSession:
    return HttpSession(channels, TOKEN.encode())


def request(method: str, path: str, *headers: str, body: bytes = b"", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join([f"{method} {path} {version}", "Host: x", *headers, "", ""]).encode("latin-1") + body


def post(path: str, body: bytes, *headers: str) -> bytes:
    return request("POST", path, AUTHORIZED, f"Content-Length: {len(body)}", *headers, body=body)


def taken(session: HttpSession) -> bytes:
    wire = b""
    while session.outbox.size:
        head = bytes(session.outbox.head())
        session.outbox.took(len(head))
        wire += head
        session.go_on()
    return wire


def answers(session: HttpSession):
    """`(status, headers, JSON)` of each answer that waits."""
    wire, found = taken(session), []
    while wire:
        head, _, wire = wire.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        length = int(headers["Content-Length"])
        found.append((int(first.split()[1]), headers, json.loads(wire[:length])))
        wire = wire[length:]
    return found


def ask(session: HttpSession, wire: bytes):
    session.receive(wire)
    (answer,) = answers(session)
    return answer


def test_post_publishes_text_or_binary_by_content_type(channels, session):
    status, _, first = ask(session, post("/channels/room%3A7", "grün".encode(), "Content-Type: text/plain; charset=x"))
    assert status == 200
    ask(session, post("/channels/room:7", b'{"a": 1}', "content-type: Application/JSON"))
    ask(session, post("/channels/room:7", b"\xff", "Content-Type: application/octet-stream"))
    ask(session, post("/channels/room:7", b""))
    found = channels.history("room:7")
    assert [data for _, data in found] == ["grün", '{"a": 1}', b"\xff", b""]
    assert found[0][0] == first["offset"]


def test_get_tells_what_was_published(channels, session):
    offsets = [channels.publish("a/b", data) for data in ("x", b"\xff\x00", "y")]
    status, headers, answer = ask(session, request("GET", f"/channels/a/b?since={offsets[0]}&limit=1", AUTHORIZED))
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert answer == {
        "messages": [{"offset": offsets[1], "binary": base64.b64encode(b"\xff\x00").decode()}],
        "offset": offsets[2],
        "missed": 0,
        "more": True,
    }
    _, _, answer = ask(session, request("GET", "/channels/a/b", AUTHORIZED))
    assert [one["offset"] for one in answer["messages"]] == offsets and answer["more"] is False


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_requests_come_in_pieces_and_in_a_row(channels, session, step):
    wire = post("/channels/a", b"one") + b"\r\n" + post("/channels/a", b"two") + request("GET", "/other", AUTHORIZED)
    found = []
    for at in range(0, len(wire), step):
        session.receive(wire[at : at + step])
        found += answers(session)
    assert [status for status, _, _ in found] == [200, 200, 404]
    assert [data for _, data in channels.history("a")] == [b"one", b"two"]
    assert not session.is_over and not session.is_partial


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (request("GET", "/channels/a"), 401),
        (request("GET", "/nothing/here"), 401),
        (request("GET", "/channels/a", "Authorization: Bearer wrong"), 401),
        (request("GET", "/channels/a", "Authorization: Bearer"), 401),
        (request("GET", "/channels/a", "Authorization: Basic s3cret"), 401),
        (request("GET", "/channels/a", "Authorization: Bearer \xff"), 401),
        (request("POST", "/channels/a", "Content-Length: 999999999"), 401),
        (request("GET", "/", AUTHORIZED), 404),
        (request("GET", "/channels/", AUTHORIZED), 404),
        (request("GET", "/channels", AUTHORIZED), 404),
        (request("DELETE", "/channels/a", AUTHORIZED), 405),
        (request("PUT", "/channels/a", AUTHORIZED, "Content-Length: 0"), 405),
        (request("POST", "/channels/a", AUTHORIZED), 411),
        (request("POST", "/channels/a", AUTHORIZED, "Transfer-Encoding: chunked"), 411),
        (request("POST", "/channels/a", AUTHORIZED, f"Content-Length: {LONGEST + 1}"), 413),
        (request("POST", "/channels/a", AUTHORIZED, "Content-Length: -1"), 400),
        (request("POST", "/channels/a", AUTHORIZED, "Content-Length: 1, 1"), 400),
        (request("POST", "/channels/a", AUTHORIZED, "Content-Length: 1", "Content-Length: 2"), 400),
        (request("GET", "/channels/a", AUTHORIZED, "Bad Header: x"), 400),
        (request("GET", "/channels/a", AUTHORIZED, "A: b\r\n folded"), 400),
        (request("GET", "/channels/a?since=x", AUTHORIZED), 400),
        (request("GET", "/channels/a?since=-1", AUTHORIZED), 400),
        (request("GET", "/channels/a?other=1", AUTHORIZED), 400),
        (request("GET", "/channels/%FF", AUTHORIZED), 400),
        (request("GET", "/channels/%0A", AUTHORIZED), 400),
        (request("GET", "/channels/" + "x" * 256, AUTHORIZED), 400),
        (post("/channels/a", b"\xff", "Content-Type: text/plain"), 400),
        (request("GET", "/channels/a", AUTHORIZED, version="HTTP/2.0"), 400),
        (b"\x16\x03\x01 nonsense\r\n\r\n", 400),
        (request("GET", "/channels/a", AUTHORIZED, "X: " + "x" * LONGEST_HEAD), 431),
        (b"GET /" + b"x" * (LONGEST_HEAD + 10), 431),
    ],
)
def test_what_cannot_be_done_is_answered_properly(channels, session, wire, status):
    found, headers, answer = ask(session, wire)
    assert found == status and isinstance(answer["error"], str)
    assert ("WWW-Authenticate" in headers) == (status == 401)
    assert headers.get("Allow") == ("GET, POST" if status == 405 else None)
    assert session.is_over == (headers.get("Connection") == "close")
    assert channels.list() == []


def test_a_body_is_asked_for_only_if_it_will_be_taken(channels, session):
    session.receive(request("POST", "/channels/a", AUTHORIZED, "Content-Length: 3", "Expect: 100-continue"))
    assert taken(session) == b"HTTP/1.1 100 Continue\r\n\r\n" and session.is_partial
    session.receive(b"abc")
    assert answers(session)[0][0] == 200
    session.receive(request("POST", "/channels/a", "Content-Length: 3", "Expect: 100-continue"))
    assert answers(session)[0][0] == 401 and session.is_over


@pytest.mark.parametrize(("version", "header"), [("HTTP/1.0", "A: b"), ("HTTP/1.1", "Connection: close")])
def test_a_client_that_wants_one_answer_gets_one(session, version, header):
    wire = request("GET", "/channels/a", AUTHORIZED, header, version=version)
    session.receive(wire + wire)
    assert len(answers(session)) == 1 and session.is_over


def test_a_request_that_takes_too_long_is_told_so(session):
    session.receive(b"POST /channels/a HTTP/1.1\r\n")
    assert session.is_partial
    session.end_partial(30)
    ((status, _, answer),) = answers(session)
    assert status == 408 and "30 s" in answer["error"] and session.is_over


def test_a_client_that_takes_nothing_ends_with_the_answer_that_has_begun(channels, session):
    channels.publish("a", "x" * 1000)
    session.receive(request("GET", "/channels/a", AUTHORIZED) * 2)
    begun = bytes(session.outbox.head())
    session.outbox.took(10)
    session.end_slow(30)
    assert session.is_over
    assert taken(session) == begun[10:]
