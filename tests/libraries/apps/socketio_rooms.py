"""Rooms by python-socketio, with its driver for uWSGI's WebSocket calls under gevent.

    fairlead --http 127.0.0.1:8080 --wsgi-file socketio_rooms.py --gevent 1000

CLIENT_JS names the browser's half, socket.io.min.js of the npm package socket.io-client. DRIVER=events takes the
driver's other way, for uWSGI before 2.1: without request contexts only the request's own greenlet may send, so messages
go through a queue. The driver looks at the module with each connection.

With several processes the rooms need a message queue, and gevent's patches for it; MESSAGE_QUEUE is its address:

    MESSAGE_QUEUE=redis:// fairlead … --gevent 1000 --gevent-monkey-patch --processes 4
"""

import os
from pathlib import Path

import uwsgi

if os.environ.get("DRIVER") == "events":
    del uwsgi.request_context

import socketio

sio = socketio.Server(
    async_mode="gevent_uwsgi",
    client_manager=socketio.RedisManager(os.environ["MESSAGE_QUEUE"]) if "MESSAGE_QUEUE" in os.environ else None,
    ping_interval=float(os.environ.get("PING_INTERVAL", "25")),
    ping_timeout=float(os.environ.get("PING_TIMEOUT", "20")),
)
application = socketio.WSGIApp(
    sio,
    static_files={
        "/": str(Path(__file__).parent / "static" / "socketio.html"),
        "/client.js": os.environ.get("CLIENT_JS", "socket.io.min.js"),
    },
)


@sio.event
def connect(sid, environ, auth):
    if auth == {"token": "wrong"}:
        raise socketio.exceptions.ConnectionRefusedError("not with this token")


@sio.event
def disconnect(sid, reason):
    for room in set(sio.rooms(sid)) - {sid}:
        sio.emit("left", (sid, reason), room=room, skip_sid=sid)


@sio.event
def enter(sid, room):
    sio.enter_room(sid, room)
    return f"you are in {room}"


@sio.event
def leave(sid, room):
    sio.leave_room(sid, room)
    return f"you left {room}"


@sio.event
def say(sid, room, words):
    sio.emit("said", words, room=room)


@sio.event
def echo(sid, words):
    sio.emit("echoed", words, to=sid)
    return words


@sio.event
def ask(sid, question):
    """The acknowledgement holds the client's own acknowledgement."""
    return sio.call("question", question, to=sid)


@sio.event
def process(sid):
    """Which of the processes serves this client."""
    return os.getpid()


@sio.event
def count(sid, upto):
    def numbers():
        for number in range(upto):
            sio.emit("number", number, to=sid)
            sio.sleep(0)

    sio.start_background_task(numbers)


@sio.on("hang up")
def hang_up(sid):
    sio.disconnect(sid)
