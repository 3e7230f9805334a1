"""A Bottle application with two WebSocket views beside its pages: one by uWSGI's calls, one by Fairlead's own.

    fairlead --http 127.0.0.1:8080 --wsgi-file app.py --callable app --async 1000 --greenlet

Bottle keeps `bottle.request` per thread. Under greenlets many requests share one, and after the first wait `request` is
somebody else's: a WebSocket view takes out of it what it needs before it waits.
"""

from contextlib import suppress
from pathlib import Path

import bottle
import uwsgi
from bottle import Bottle, redirect, request, response, static_file, template
from fairlead import ConnectionClosed, websocket

HERE = Path(__file__).parent
SECRET = "signs the name's cookie"

bottle.TEMPLATE_PATH.insert(0, str(HERE / "views"))
app = Bottle()


@app.get("/")
def page():
    return template("page", name=request.get_cookie("name", secret=SECRET))


@app.get("/static/<path:path>")
def static(path):
    return static_file(path, root=str(HERE.parent / "static"))


@app.post("/login")
def login():
    response.set_cookie("name", request.forms.name, secret=SECRET)
    response.set_cookie("colour", request.forms.colour)
    redirect("/")


def visitor():
    """Who asks, and the first thing to say to them; only before the first wait."""
    name = request.get_cookie("name", secret=SECRET) or "stranger"
    return name, f"Welcome {name}, you like {request.get_cookie('colour', 'nothing')}"


def answer_to(name, words):
    if words == "fail":
        raise ValueError("asked to fail")
    return f"{name}: {words}"


@app.get("/ws/uwsgi")
def by_uwsgi():
    name, welcome = visitor()
    uwsgi.websocket_handshake()
    uwsgi.websocket_send(welcome)
    while True:
        try:
            words = uwsgi.websocket_recv().decode()
        except OSError:  # the browser has left
            break
        if words == "bye":
            break
        uwsgi.websocket_send(answer_to(name, words))


@app.get("/ws/fairlead")
def by_fairlead():
    name, welcome = visitor()
    # A visitor who vanishes without a Close raises; one who closes ends the loop.
    with suppress(ConnectionClosed), websocket(request.environ) as ws:
        ws.send(welcome)
        for words in ws:
            if words == "bye":
                break
            ws.send(words if isinstance(words, bytes) else answer_to(name, words))
