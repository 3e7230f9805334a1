"""The echo server in Fairlead's own API: text stays text, binary stays binary, and the loop ends when the peer leaves.

    fairlead --http 127.0.0.1:8080 --wsgi-file examples/echo_fairlead.py --async 1000 --greenlet

Connect any WebSocket client to ws://127.0.0.1:8080/. The same in uWSGI's API, with a page: echo.py.
"""

from fairlead import websocket


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This is a WebSocket echo server; connect to it with a WebSocket client.\n"]
    with websocket(environ) as ws:
        for message in ws:
            ws.send(message)
    return []
