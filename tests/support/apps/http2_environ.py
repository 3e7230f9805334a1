"""A WebSocket whose first message is its environ: the strings of it."""

from fairlead import websocket


def application(environ, start_response):
    with websocket(environ, subprotocols=["chat.v1"]) as ws:
        ws.send(repr({name: value for name, value in environ.items() if isinstance(value, str)}))
    return []
