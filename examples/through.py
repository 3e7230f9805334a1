"""What comes through: a page that tells how its request arrived, and a WebSocket that does as it is told.

    fairlead --http 127.0.0.1:8080 --wsgi-file examples/through.py --async 1000 --greenlet

For whoever puts a proxy in front, or wants to know what TLS, HTTP/2 or the uwsgi protocol change for an application
(nothing but the facts): any path answers with the request's variables and its body as JSON. A WebSocket is greeted with
the same facts, and is in the room that its query names (`/?kitchen`). It may say

    count 3             and gets three messages
    all hello           and everybody in its room gets `hello`
    close 4001 enough   and is closed with that code and reason

Everything else comes back as it went, text as text and binary as binary. Whoever leaves is reported to the room, with
the code and reason of the close. A WebSocket at `/uwsgi` is an echo by uWSGI's API.
"""

import json

import uwsgi
from fairlead import ConnectionClosed, channels, websocket


def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        body = json.dumps({**facts(environ), "body": environ["wsgi.input"].read(-1).decode("latin-1")}).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    if environ["PATH_INFO"] == "/uwsgi":
        return echo(environ)
    return talk(environ)


def facts(environ):
    return {name: value for name, value in environ.items() if isinstance(value, str)}


def talk(environ):
    room = "through/" + ("".join(filter(str.isalnum, environ["QUERY_STRING"]))[:40] or "lobby")
    with websocket(environ) as ws:
        ws.join(room)
        ws.send(json.dumps(facts(environ)))
        try:
            for message in ws:
                obey(ws, room, message)
        except ConnectionClosed:
            pass  # vanished without a Close
        ws.leave(room)
        channels.publish(room, f"left {ws.closed.code} {ws.closed.reason}")
    return []


def obey(ws, room, message):
    word, _, rest = message.partition(" ") if isinstance(message, str) else ("", "", "")
    if word == "count":
        for number in range(1, int(rest) + 1):
            ws.send(str(number))
    elif word == "all":
        channels.publish(room, rest)
    elif word == "close":
        code, _, reason = rest.partition(" ")
        ws.close(int(code), reason)
    else:
        ws.send(message)


def echo(environ):
    uwsgi.websocket_handshake(environ["HTTP_SEC_WEBSOCKET_KEY"], environ.get("HTTP_ORIGIN", ""))
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())
