"""Flask-uWSGI-WebSocket's middleware for asyncio: handlers are coroutines on the loop that the requests run on.

    fairlead --http 127.0.0.1:8080 --import names_of_2019 --wsgi-file flask_uwsgi_asyncio.py --callable app \\
        --asyncio 1000 --greenlet --websocket-text-lenient

It sends everything by `websocket_send`; see flask_uwsgi_gevent.py. A handler that returns does not end the connection:
only the client does.
"""

from flask import Flask, request
from flask_uwsgi_websocket import AsyncioWebSocket

app = Flask(__name__)
websocket = AsyncioWebSocket(app)
readers = set()


@app.get("/")
def page():
    return "a page"


@websocket.route("/echo", websocket=True)
async def echo(ws):
    while (message := await ws.receive()) is not None:
        await ws.send(message)


@websocket.route("/echo/binary", websocket=True)
async def echo_binary(ws):
    while (message := await ws.receive()) is not None:
        await ws.send(message)


@websocket.route("/hello/<name>/<int:times>", websocket=True)
async def hello(ws, name, times):
    """Sends without having been asked, as often as the route says."""
    for number in range(times):
        await ws.send(f"hello {name} {number}")


@websocket.route("/news", websocket=True)
async def news(ws):
    """Hears what others publish by the page below."""
    readers.add(ws)
    await ws.send("subscribed")
    while await ws.receive() is not None:
        pass
    readers.remove(ws)


@app.post("/news")
def publish():
    for reader in readers:
        reader.send_nb(request.form["words"])
    return f"told {len(readers)}"
