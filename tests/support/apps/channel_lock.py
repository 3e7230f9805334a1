"""At /echo each message comes back. At /room the client is a member of "room", and asks by "publish TEXT", "join NAME",
"leave NAME" or "members": it gets the answer, or "error: " and the error's text. Calls wait a second for the lock."""

import os

from fairlead import ChannelsError, channels, websocket
from fairlead.channels import waiting

waiting.PATIENCE_S = 1.0


def asked(ws, message):
    what, _, text = message.partition(" ")
    if what == "publish":
        return channels.publish("room", text)
    if what == "join":
        return ws.join(text).offset
    if what == "leave":
        return ws.leave(text)
    return channels.members("room")


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/pid":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(os.getpid()).encode()]
    with websocket(environ) as ws:
        if path == "/room":
            ws.join("room")
            ws.send("joined")
        for message in ws:
            if path == "/echo":
                ws.send(message)
                continue
            try:
                ws.send(f"answer: {asked(ws, message)}")
            except ChannelsError as error:
                ws.send(f"error: {error}")
    return []
