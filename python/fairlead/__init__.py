"""Fairlead: WebSockets for plain Python applications. These are the public names; all others may change.

from fairlead import websocket

def application(environ, start_response):
    with websocket(environ) as ws:
        for message in ws:          # str or bytes; ends when the peer closes
            ws.send(message)
"""

from fairlead import channels
from fairlead._native import Request, Session, __version__
from fairlead.async_websocket import AsyncWebSocket, async_websocket
from fairlead.current import current_request, current_session
from fairlead.errors import ChannelsError, ConnectionClosed, FairleadError, HandshakeRefused
from fairlead.files import send_file

# Last: importing the module `fairlead.websocket` binds its name here, and the function of the same name replaces it.
from fairlead.websocket import Joined, WebSocket, websocket

__all__ = [
    "AsyncWebSocket",
    "ChannelsError",
    "ConnectionClosed",
    "FairleadError",
    "HandshakeRefused",
    "Joined",
    "Request",
    "Session",
    "WebSocket",
    "__version__",
    "async_websocket",
    "channels",
    "current_request",
    "current_session",
    "send_file",
    "websocket",
]
