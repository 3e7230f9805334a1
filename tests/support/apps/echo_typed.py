"""The echo of the conformance tests, by Fairlead's own API: text stays text, binary stays binary.

`/offers` speaks two subprotocols; every path echoes. A page for plain requests shows that the connection
still serves.
"""

from fairlead import websocket


def application(environ, start_response):
    if "HTTP_UPGRADE" not in environ and environ["PATH_INFO"] != "/always":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"plain\n"]
    speaks = ["chat.v2", "chat.v1"] if environ["PATH_INFO"] == "/offers" else []
    with websocket(environ, subprotocols=speaks) as ws:
        for message in ws:
            ws.send(message)
    return []
