"""Flask-uWSGI-WebSocket's middleware for greenlets: `receive` is `wait_fd_read`, `suspend` and `websocket_recv_nb`.

    fairlead --http 127.0.0.1:8080 --import names_of_2019 --wsgi-file flask_uwsgi_async.py --callable app \\
        --async 1000 --greenlet

`receive` raises OSError when the client has left, and may return an empty message when only control frames have come.
"""

from flask import Flask
from flask_uwsgi_websocket import AsyncWebSocket

app = Flask(__name__)
websocket = AsyncWebSocket(app)


@app.get("/")
def page():
    return "a page"


def messages(ws):
    try:
        while True:
            if message := ws.receive():
                yield message
    except OSError:
        return


@websocket.route("/echo", websocket=True)
def echo(ws):
    for message in messages(ws):
        if message == b"bye":
            return
        ws.send(message)


@websocket.route("/echo/binary", websocket=True)
def echo_binary(ws):
    for message in messages(ws):
        ws.send(message, binary=True)


@websocket.route("/hello/<name>/<int:times>", websocket=True)
def hello(ws, name, times):
    """Sends without having been asked, as often as the route says."""
    for number in range(times):
        ws.send(f"hello {name} {number}")
    for _ in messages(ws):
        pass
