"""What the tests of routes serve: a page that tells its environ, an echo of bodies and of WebSockets, and a page that
comes slowly."""

import json

from fairlead import websocket


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" in environ:
        return echo(environ)
    path = environ["PATH_INFO"]
    if path.endswith("/body"):
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("X-App", "routed")])
        return [body]
    if path.endswith("/stream"):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"%06d\n" % number for number in range(20000))
    if path.endswith("/missing"):
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"nothing here\n"]
    start_response("200 OK", [("Content-Type", "application/json"), ("Server", "app")])
    told = {key: value for key, value in environ.items() if isinstance(value, str)}
    return [json.dumps(told).encode()]


def echo(environ):
    with websocket(environ, subprotocols=["chat.v1"]) as ws:
        if environ["PATH_INFO"].endswith("/close"):
            ws.close(3210, "as asked")
        for message in ws:
            ws.send(message)
    return []
