"""An application that lets Socket.IO choose its driver, or says which.

fairlead --http 127.0.0.1:8080 --wsgi-file flask_socketio_guess.py --callable app
"""

import os

from flask import Flask
from flask_socketio import SocketIO, emit

app = Flask(__name__)
socketio = SocketIO(async_mode=os.environ.get("ASYNC_MODE") or None)
if os.environ.get("IS_LATE"):

    @app.before_request
    def make():
        if socketio.server is None:
            socketio.init_app(app)

else:
    socketio.init_app(app)


@app.get("/")
def page():
    return socketio.async_mode


@socketio.on("echo")
def echo(words):
    emit("echoed", words)
