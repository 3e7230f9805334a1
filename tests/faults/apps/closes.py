"""Closes descriptors that are not its own, as programs do that were written to become a daemon."""

import os

from fairlead import websocket


def application(environ, start_response):
    if environ["PATH_INFO"] == "/close":
        os.write(2, b"closing\n")
        os.closerange(3, 100)
    with websocket(environ) as ws:
        for message in ws:
            ws.send(message)
    return []
