"""Nothing that a client sends can pass for a line of the log, speak to the terminal that shows it, or end a header's
line, by whatever rule, variable, exception or call of the application it comes there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from end_to_end.http_wire import read_answer, request
from support.raw_client import RawClient
from support.server import Server
from support.uwsgi_client import ask, packet, variables

#: A line end, something that looks like a record, and what clears a terminal; as it comes and decoded.
SENT = "/a%0d%0a2026-11-30%2012:00:00%20%5B1%5D%20info:%20forged%1b%5B2Jx"
DECODED = "/a\r\n2026-11-30 12:00:00 [1] info: forged\x1b[2Jx"

RULES = [
    "--route-run", "log:${PATH_INFO}",
    "--route-run", "logvar:routed=${PATH_INFO}",
    "--route-run", "addheader:X-Routed: ${PATH_INFO}",
    "--route-run", "addvar:HTTP_X_ROUTED=${PATH_INFO}",
    "--route-if", "equal:${QUERY_STRING};peer setremoteaddr:${PATH_INFO}",
    "--route-if", "equal:${QUERY_STRING};moved redirect:http://example.org/${PATH_INFO}",
    "--route-if", "equal:${QUERY_STRING};gone break:410 ${PATH_INFO}",
    "--route-if", "equal:${QUERY_STRING};uri seturi:${PATH_INFO}",
    "--route-if", "equal:${QUERY_STRING};away http:127.0.0.1:1,${PATH_INFO},${PATH_INFO}",
    "--route-if", "equal:${QUERY_STRING};nowhere http:${PATH_INFO}",
    "--response-route-run", "log:answered ${PATH_INFO}",
    "--final-route-run", "log:over ${PATH_INFO}",
]  # fmt: skip


@pytest.fixture
def server(start) -> Server:
    return start("logged.py", *RULES, listen=("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0"))


def nothing_is_forged(server: Server) -> None:
    """After the stop: the log is complete."""
    server.stop()
    said = [line for line in server.lines if "forged" in line]
    assert said
    for line in said:
        assert not re.match(r"2026-11-30 12:00", line), line
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d \[\d+\] \w+: |\t", line), line
    assert not [line for line in server.lines if "\x1b" in line or "\r" in line]


@pytest.mark.parametrize("path", [SENT, "/raise" + SENT])
def test_what_an_application_and_rules_say_of_a_path_stays_one_record(server, path):
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, path, "Connection: close"))
        answer = read_answer(client, "GET")
    assert answer.status == (500 if "raise" in path else 200)
    assert answer.header("X-Routed").endswith("forged[2Jx")
    (pid,) = server.worker_pids()
    assert "\n" not in Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    assert not set(Path(f"/proc/{pid}/cmdline").read_text()) & set("\n\r\x1b")
    nothing_is_forged(server)


@pytest.mark.parametrize("query", ["peer", "moved", "gone", "uri", "away", "nowhere"])
def test_no_rule_makes_two_header_lines_or_records_of_one(server, query):
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, f"{SENT}?{query}", "Connection: close"))
        while client.read_some():
            pass
        head = bytes(client.buffer).partition(b"\r\n\r\n")[0]
    assert head.startswith(b"HTTP/1.1 ")
    assert not [line for line in head.split(b"\n") if line.startswith(b"2026") or b"\x1b" in line]
    nothing_is_forged(server)


def test_a_variable_of_a_packet_is_no_line_either(server):
    uri = dict(variables())
    uri.update({"REQUEST_URI": DECODED, "PATH_INFO": DECODED, "REMOTE_ADDR": DECODED, "HTTP_HOST": "front.example"})
    ask(server, packet(uri.items()), listener=1)
    with RawClient(server.connect()) as client:
        client.send_bytes(request(server, SENT, "Connection: close"))
        read_answer(client, "GET")
    nothing_is_forged(server)


def test_what_a_websocket_sent_is_no_line_when_it_is_raised(server):
    with RawClient.upgrade(server, "/ws") as client:
        client.send_text(DECODED)
        server.wait_for_line(r"ValueError: ")
    nothing_is_forged(server)
