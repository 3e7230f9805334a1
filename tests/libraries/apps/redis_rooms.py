"""What the chats over Redis have in common: how they reach Redis, and the page of a room.

Redis listens on the UNIX socket that REDIS_SOCKET names. A room is a path, `/lounge?Ada` is Ada's way into it.
"""

import os
from pathlib import Path

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

#: How long a chat waits at most before it looks after its WebSocket, as uWSGI's pings need it.
WAIT_S = int(os.environ.get("WAIT_S", "3"))
PAGE = (Path(__file__).parent / "static" / "chat.html").read_bytes()


def is_page(environ):
    return environ.get("HTTP_UPGRADE", "").lower() != "websocket"


def page(start_response):
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [PAGE]


def enter(environ):
    """The room's name, a client of Redis, and the channel that carries what is said in the room.

    Without retries: a new connection would have another descriptor than the one that the chat waits for.
    """
    room, name = environ["PATH_INFO"].strip("/"), environ["QUERY_STRING"] or "somebody"
    database = Redis(
        unix_socket_path=os.environ["REDIS_SOCKET"],
        client_name=name,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    )
    channel = database.pubsub()
    channel.subscribe(room)
    return room, name, database, channel


def lines(channel):
    """What Redis has sent so far; one read can take in several messages, and the descriptor tells of the first only."""
    while (message := channel.get_message()) is not None:
        yield line_of(message)


def line_of(message):
    """What to tell the visitor about a message of Redis."""
    if message["type"] == "subscribe":
        return f"you are in {message['channel']}"
    return message["data"]


def leave(room, name, database, channel):
    channel.close()
    database.publish(room, f"{name} left")
    database.close()
