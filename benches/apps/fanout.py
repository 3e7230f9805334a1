"""Fan-out: what the client at /pub sends goes to all clients at /sub, through a channel."""

from fairlead import channels, websocket


def application(environ, start_response):
    with websocket(environ) as ws:
        if environ["PATH_INFO"] == "/sub":
            ws.join("bench")
            for _ in ws:
                pass
        else:
            for message in ws:
                channels.publish("bench", message)
