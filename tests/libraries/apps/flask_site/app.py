"""A Flask application with two WebSocket views beside its pages: one by uWSGI's calls, one by Fairlead's own.

    fairlead --http 127.0.0.1:8080 --wsgi-file app.py --callable app --threads 64

Werkzeug gives a handshake only to rules that are declared with `websocket=True`; to others it answers 400. In a view
all of Flask is as usual: the session, cookies, the request. What the view returns goes nowhere, but Flask wants it.
"""

from contextlib import suppress
from pathlib import Path

import uwsgi
from fairlead import ConnectionClosed, websocket
from flask import Flask, redirect, render_template, request, session, url_for

app = Flask(__name__, static_folder=str(Path(__file__).parents[1] / "static"))
app.secret_key = "signs the session's cookie"


@app.get("/")
def page():
    return render_template("page.html", name=session.get("name"))


@app.post("/login")
def login():
    session["name"] = request.form["name"]
    answer = redirect(url_for("page"))
    answer.set_cookie("colour", request.form["colour"])
    return answer


def welcome():
    return f"Welcome {session.get('name', 'stranger')}, you like {request.cookies.get('colour', 'nothing')}"


def answer_to(words):
    if words == "fail":
        raise ValueError("asked to fail")
    return f"{session.get('name', 'stranger')}: {words}"


@app.route("/ws/uwsgi", websocket=True)
def by_uwsgi():
    uwsgi.websocket_handshake()
    uwsgi.websocket_send(welcome())
    while True:
        try:
            words = uwsgi.websocket_recv().decode()
        except OSError:  # the browser has left
            break
        if words == "bye":
            break
        uwsgi.websocket_send(answer_to(words))
    return ""


@app.route("/ws/fairlead", websocket=True)
def by_fairlead():
    # A visitor who vanishes without a Close raises; one who closes ends the loop.
    with suppress(ConnectionClosed), websocket(request.environ) as ws:
        ws.send(welcome())
        for words in ws:
            if words == "bye":
                break
            ws.send(words if isinstance(words, bytes) else answer_to(words))
    return ""
