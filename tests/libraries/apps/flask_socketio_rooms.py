"""The rooms of socketio_rooms.py by Flask-SocketIO, which drives the same driver from a Flask application.

fairlead --http 127.0.0.1:8080 --wsgi-file flask_socketio_rooms.py --callable app --gevent 1000
"""

import os
from pathlib import Path

import uwsgi

if os.environ.get("DRIVER") == "events":
    del uwsgi.request_context

from flask import Flask, request, send_file
from flask_socketio import ConnectionRefusedError, SocketIO, call, emit, join_room, leave_room, rooms
from flask_socketio import disconnect as hang_up_on

app = Flask(__name__)
socketio = SocketIO(
    app,
    async_mode="gevent_uwsgi",
    ping_interval=float(os.environ.get("PING_INTERVAL", "25")),
    ping_timeout=float(os.environ.get("PING_TIMEOUT", "20")),
)


@app.get("/")
def page():
    return send_file(Path(__file__).parent / "static" / "socketio.html")


@app.get("/client.js")
def client():
    return send_file(os.environ["CLIENT_JS"])


@socketio.on("connect")
def connect(auth):
    if auth == {"token": "wrong"}:
        raise ConnectionRefusedError("not with this token")


@socketio.on("disconnect")
def disconnect(reason):
    for room in set(rooms()) - {request.sid}:
        emit("left", (request.sid, reason), to=room, include_self=False)


@socketio.on("enter")
def enter(room):
    join_room(room)
    return f"you are in {room}"


@socketio.on("leave")
def leave(room):
    leave_room(room)
    return f"you left {room}"


@socketio.on("say")
def say(room, words):
    emit("said", words, to=room)


@socketio.on("echo")
def echo(words):
    emit("echoed", words)
    return words


@socketio.on("ask")
def ask(question):
    return call("question", question, to=request.sid)


@socketio.on("count")
def count(upto):
    def numbers(sid):
        for number in range(upto):
            socketio.emit("number", number, to=sid)
            socketio.sleep(0)

    socketio.start_background_task(numbers, request.sid)


@socketio.on("hang up")
def hang_up():
    hang_up_on()
