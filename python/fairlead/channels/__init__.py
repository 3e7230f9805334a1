"""Channels: what any process of an instance publishes reaches the members in all of them, without a broker.

The names of this package are the application's (application.py), and those of programs outside the workers, who begin
with `connect` (client.py). What serves such programs runs in the master: server.py, with session.py and http.py for
what is said. wire.py is the protocol between both, waiting.py waits for the lock. Nothing is defined here.
"""

from fairlead.channels.application import (
    CLIENT_JS,
    Subscription,
    configure,
    history,
    members,
    publish,
    publish_async,
    serve,
    subscribe,
    subscribe_async,
)
from fairlead.channels.client import RemoteChannels, RemoteSubscription, connect
from fairlead.channels.wire import Message

__all__ = [
    "CLIENT_JS",
    "Message",
    "RemoteChannels",
    "RemoteSubscription",
    "Subscription",
    "configure",
    "connect",
    "history",
    "members",
    "publish",
    "publish_async",
    "serve",
    "subscribe",
    "subscribe_async",
]
