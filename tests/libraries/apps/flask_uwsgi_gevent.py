"""Flask-uWSGI-WebSocket's middleware for gevent: a handler in a greenlet of its own, with queues both ways.

    fairlead --http 127.0.0.1:8080 --import names_of_2019 --wsgi-file flask_uwsgi_gevent.py --callable app \\
        --gevent 1000 --websocket-text-lenient

It sends everything by `websocket_send`, bytes too: with `--websocket-text-lenient` those that are no text go as binary,
without it they end the connection. `receive` returns None when the client has left, and empty messages now and then.
"""

from flask import Flask, request
from flask_uwsgi_websocket import GeventWebSocket

app = Flask(__name__)
websocket = GeventWebSocket(app)
readers = set()


@app.get("/")
def page():
    return "a page"


def messages(ws):
    while (message := ws.receive()) is not None:
        if message:
            yield message


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


@websocket.route("/news", websocket=True)
def news(ws):
    """Hears what others publish by the page below."""
    readers.add(ws)
    ws.send("subscribed")
    for _ in messages(ws):
        pass
    readers.remove(ws)


@app.post("/news")
def publish():
    for reader in readers:
        reader.send(request.form["words"])
    return f"told {len(readers)}"
