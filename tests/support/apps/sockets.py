"""WebSocket apps by Fairlead's own API, one function for each behaviour, chosen by the path: `/echo` calls
`echo`.

What an app saw goes out as a note, named by the token in the query string. An app that has to block does so
on a FIFO that its test opens when it wants, so that nobody waits for a time to pass.
"""

import contextlib
import os
import threading
import time

from fairlead import ConnectionClosed, websocket
from notes import argument, note, outcome

PAGES = {}
ROOM = []
LOCK = threading.Lock()


def application(environ, start_response):
    function = PAGES.get(environ["PATH_INFO"].strip("/"))
    if function is None:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"no such page\n"]
    return function(environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def closure(error):
    return {"code": error.code, "reason": error.reason, "by": error.by, "text": str(error)}


@page
def pid(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


@page
def worker(environ, start_response):
    """Says its process id, then echoes; a message that begins with a slash is a FIFO to block on first."""
    with websocket(environ) as ws:
        ws.send(str(os.getpid()))
        for message in ws:
            if message.startswith("/"):
                with open(message) as fifo:
                    fifo.read()
            ws.send(message)


@page
def echo(environ, start_response):
    ws = websocket(environ)
    for message in ws:
        ws.send(message)
    return []


@page
def speaks(environ, start_response):
    with websocket(environ, subprotocols=["chat.v2", "chat.v1"]) as ws:
        ws.send(repr(ws.subprotocol))
    return []


@page
def types(environ, start_response):
    ws = websocket(environ)
    for message in ws:
        ws.send(f"{type(message).__name__} {len(message)}")


@page
def sends_types(environ, start_response):
    with websocket(environ) as ws:
        ws.send("text é")
        ws.send(b"\x00\xff")
        ws.send(bytearray(b"array"))
        ws.send(memoryview(b"view"))
        note(environ, none=outcome(ws.send, None), number=outcome(ws.send, 7), lone=outcome(ws.send, "\ud800"))
        ws.send("still usable")


@page
def returns(environ, start_response):
    websocket(environ)
    return [b"never on the wire"]


@page
def returns_none(environ, start_response):
    websocket(environ)


@page
def generator(environ, start_response):
    ws = websocket(environ)
    yield b"never on the wire"
    for message in ws:
        ws.send(message)
        yield b"nor this"


@page
def writes(environ, start_response):
    write = start_response("200 OK", [])
    ws = websocket(environ)
    write(b"never on the wire")
    note(environ, late=outcome(start_response, "200 OK", []))
    ws.send("only this")
    return [b"nor this"]


@page
def answers_500(environ, start_response):
    """What a framework makes of a view that raised."""
    websocket(environ).receive()
    start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
    return [b"never on the wire"]


@page
def raises(environ, start_response):
    ws = websocket(environ)
    ws.receive()
    raise ValueError("raised on purpose in a websocket")


@page
def raises_in_with(environ, start_response):
    with websocket(environ) as ws:
        ws.receive()
        raise ValueError("raised on purpose in a with block")


@page
def exits(environ, start_response):
    websocket(environ)
    raise SystemExit(3)


@page
def twice(environ, start_response):
    ws = websocket(environ)
    note(environ, second=outcome(websocket, environ))
    ws.send("once")


@page
def late_handshake(environ, start_response):
    start_response("200 OK", [])(b"begun")
    note(environ, handshake=outcome(websocket, environ))
    return []


@page
def closes(environ, start_response):
    """`/closes?token&code,reason`"""
    code, _, reason = argument(environ).partition(",")
    ws = websocket(environ)
    first = outcome(ws.close, int(code), reason)
    again = outcome(ws.close, 4000, "again")
    note(environ, first=first, again=again, send=outcome(ws.send, "after"))
    try:
        ws.receive()
    except ConnectionClosed as error:
        note(environ, **closure(error))


@page
def ends(environ, start_response):
    """Notes every message, then how the connection ended, and what calls say afterwards."""
    ws = websocket(environ)
    messages = []
    before = ws.closed
    try:
        while True:
            messages.append(ws.receive())
    except ConnectionClosed as error:
        end = closure(error)
    note(
        environ,
        messages=messages,
        before=before,
        end=end,
        closed=closure(ws.closed),
        receive=outcome(ws.receive),
        nowait=outcome(ws.receive_nowait),
        send=outcome(ws.send, "late"),
        ping=outcome(ws.ping),
        close=outcome(ws.close),
    )


@page
def iterates(environ, start_response):
    ws = websocket(environ)
    messages = []
    try:
        for message in ws:
            messages.append(message)
    except ConnectionClosed as error:
        note(environ, messages=messages, raised=closure(error))
    else:
        note(environ, messages=messages, raised=None)


@page
def times_out(environ, start_response):
    with websocket(environ) as ws:
        ws.send(repr(ws.receive(0.05)))
        ws.send(repr(ws.receive_nowait()))
        ws.send(repr(ws.receive(30.0)))


@page
def reads_late(environ, start_response):
    """`/reads_late?token&fifo`: blocks the thread (under greenlets the whole worker), then receives all."""
    ws = websocket(environ)
    note(environ, blocks=True)
    with open(argument(environ)) as fifo:
        fifo.read()
    ends_of = []
    try:
        while True:
            ends_of.append(ws.receive())
    except ConnectionClosed as error:
        note_again(environ, messages=len(ends_of), **closure(error))


def note_again(environ, **values):
    """Under a second name, because a test finds the first note of a token."""
    renamed = {**environ, "QUERY_STRING": environ["QUERY_STRING"].split("&")[0] + "-again"}
    note(renamed, **values)


@page
def chat(environ, start_response):
    """What one says, all hear: sends come from tasks of other connections."""
    ws = websocket(environ)
    with LOCK:
        ROOM.append(ws)
    ws.send("joined")
    try:
        for message in ws:
            with LOCK:
                members = list(ROOM)
            for member in members:
                with contextlib.suppress(ConnectionClosed):
                    member.send(message)
    finally:
        with LOCK:
            ROOM.remove(ws)


@page
def threads(environ, start_response):
    """Ten plain threads send 100 messages each."""

    def work(number):
        for count in range(100):
            ws.send(f"{number} {count}")

    ws = websocket(environ)
    workers = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for worker in workers:
        worker.start()
    ws.receive()
    for worker in workers:
        worker.join()


@page
def greenlets(environ, start_response):
    """A greenlet of the request's own sends."""
    import greenlet

    ws = websocket(environ)
    child = greenlet.greenlet(lambda text: ws.send(text))
    child.switch("from a child")
    ws.send("from the task")
    ws.receive()


@page
def floods(environ, start_response):
    """Sends until it is stopped; notes how."""
    ws = websocket(environ)
    sent = 0
    began = time.monotonic()
    try:
        while True:
            ws.send(b"f" * 65536)
            sent += 1
    except ConnectionClosed as error:
        note(environ, sent=sent, lasted=time.monotonic() - began, **closure(error))


@page
def sends_much(environ, start_response):
    """32 messages of 1 MiB."""
    ws = websocket(environ)
    for number in range(32):
        ws.send(bytes([number]) * 2**20)
    note(environ, done=True)
    ws.receive()


@page
def sends_until_closed(environ, start_response):
    with websocket(environ) as ws:
        try:
            while True:
                ws.send(bytes(300_000))
        except ConnectionClosed as error:
            note(environ, **closure(error))


@page
def pings(environ, start_response):
    ws = websocket(environ)
    ws.ping()
    ws.ping(b"own payload")
    note(environ, long=outcome(ws.ping, b"x" * 126))
    ws.receive()
