"""The echo examples keep what they promise: uWSGI's gives bytes back as text, Fairlead's keeps the kind."""

from __future__ import annotations

from pathlib import Path

from faults.machine import get
from support.raw_client import BINARY, TEXT
from support.runners import every_runner

pytestmark = every_runner

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_echo_in_our_own_api_keeps_text_and_binary_apart(start, upgrade):
    server = start(EXAMPLES / "echo_fairlead.py")
    client = upgrade(server)
    for kind, payload in ((TEXT, "grüße".encode()), (BINARY, bytes(range(256))), (TEXT, b"")):
        client.send(kind, payload)
        assert client.read_data() == (kind, payload, True)
    client.send_close(1000)
    assert client.read_close()[0] == 1000
    assert get(server, "/")[0] == 200


def test_the_echo_in_uwsgis_api_echoes(start, upgrade):
    server = start(EXAMPLES / "echo.py")
    client = upgrade(server)
    client.send_text("hello")
    assert client.read_data() == (TEXT, b"hello", True)
    status, page = get(server, "/")
    assert status == 200 and b"<title>Fairlead echo</title>" in page
