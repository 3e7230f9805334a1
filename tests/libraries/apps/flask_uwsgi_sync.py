"""Flask-uWSGI-WebSocket's plain middleware: a request waits in `receive` and blocks nobody but itself.

    fairlead --http 127.0.0.1:8080 --import names_of_2019 --wsgi-file flask_uwsgi_sync.py --callable app --threads 64

Routes need `websocket=True` since Werkzeug keeps WebSockets and pages apart; the package passes it on.
"""

from flask import Flask
from flask_uwsgi_websocket import WebSocket

app = Flask(__name__)
websocket = WebSocket(app)


@app.get("/")
def page():
    return "a page"


@websocket.route("/echo", websocket=True)
def echo(ws):
    while (message := ws.receive()) is not None:
        if message == b"bye":
            return
        ws.send(message)


@websocket.route("/echo/binary", websocket=True)
def echo_binary(ws):
    while (message := ws.receive()) is not None:
        ws.send(message, binary=True)


@websocket.route("/hello/<name>/<int:times>", websocket=True)
def hello(ws, name, times):
    """Sends without having been asked, as often as the route says."""
    for number in range(times):
        ws.send(f"hello {name} {number}")
    ws.receive()
