"""Apps for the rows of compat §9, one function for each, chosen by the path."""

import json

import uwsgi
from notes import argument, note, outcome

PAGES = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


@page
def handshake(environ, start_response):
    """`/handshake?token&count,kind,origin`"""
    count, kind, origin = argument(environ).split(",")
    arguments = [environ["HTTP_SEC_WEBSOCKET_KEY"], origin, "chat.v1"][: int(count)]
    if kind == "bytes":
        arguments = [one.encode() for one in arguments]
    note(environ, result=outcome(uwsgi.websocket_handshake, *arguments))
    uwsgi.websocket_send(uwsgi.websocket_recv())


@page
def echo(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        uwsgi.websocket_send(uwsgi.websocket_recv())


@page
def until_the_end(environ, start_response):
    uwsgi.websocket_handshake()
    note(
        environ,
        recv=outcome(uwsgi.websocket_recv),
        recv_nb=outcome(uwsgi.websocket_recv_nb),
        send=outcome(uwsgi.websocket_send, "x"),
    )


@page
def never_reads(environ, start_response):
    """`/never_reads?token&fifo`: hangs in a call of its own, then sends."""
    uwsgi.websocket_handshake()
    note(environ, waits=True)
    with open(argument(environ)):
        pass
    environ["QUERY_STRING"] = environ["QUERY_STRING"].split("&")[0] + "-again"
    note(environ, send=outcome(uwsgi.websocket_send, "x"))


@page
def returns_body(environ, start_response):
    uwsgi.websocket_handshake()
    return [b"never", b"on the wire"]


@page
def yields_body(environ, start_response):
    uwsgi.websocket_handshake()
    yield b"never"
    yield "on the wire"


@page
def writes_body(environ, start_response):
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    uwsgi.websocket_handshake()
    write(b"never on the wire")
    return b"nor this"


@page
def starts_response(environ, start_response):
    uwsgi.websocket_handshake()
    outcome(start_response, "200 OK", [])
    return [b"never on the wire"]


@page
def raises(environ, start_response):
    uwsgi.websocket_handshake()
    raise ZeroDivisionError("on purpose")


@page
def stop(environ, start_response):
    uwsgi.stop()
    start_response("200 OK", [])
    return []


@page
def reload(environ, start_response):
    uwsgi.reload()
    start_response("200 OK", [])
    return []


@page
def environ(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps({key: type(value).__name__ for key, value in environ.items()}).encode()]
