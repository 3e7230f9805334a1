"""Members and publishers of one channel: /sub?since=N joins it with offsets, /plain without; at / each message is
published and answered with its offset, or with "missed N"."""

import os
from urllib.parse import parse_qs

from fairlead import channels, websocket

CHANNEL = "busy"


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/pid":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
    with websocket(environ) as ws:
        if path == "/sub":
            since = parse_qs(environ["QUERY_STRING"]).get("since")
            ws.join(CHANNEL, since=int(since[0]) if since else None, offsets=True)
            ws.send(str(os.getpid()))
        elif path == "/plain":
            ws.join(CHANNEL)
            ws.send(str(os.getpid()))
        for message in ws:
            if message == "missed":
                ws.send(f"missed {ws.missed}")
            else:
                ws.send(str(channels.publish(CHANNEL, message)))
    return []
