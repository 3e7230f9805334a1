"""An application that behaves as its path says, well or badly. `/books` tells what is left of it all."""

import gc
import json
import os
import select
import sys
import threading
import time

from fairlead import ConnectionClosed, channels, websocket

#: Tasks that run now, by path; a task that is forgotten shows here.
live = {}
#: Parked greenlets; without a reference greenlet would end them.
parked = []


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/books":
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(books()).encode()]
    live[path] = live.get(path, 0) + 1
    try:
        return BEHAVIOURS[path](environ, start_response)
    finally:
        live[path] -= 1


def books():
    gc.collect()
    greenlet = sys.modules.get("greenlet")
    kind = greenlet.greenlet if greenlet else ()
    return {
        "pid": os.getpid(),
        "live": sum(live.values()),
        "by_path": live,
        "greenlets": sum(1 for one in gc.get_objects() if greenlet and isinstance(one, kind)),
        "threads": threading.active_count(),
        "objects": len(gc.get_objects()),
    }


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


def whoami(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def slow(environ, start_response):
    """Takes its time, in a way that no runner can hurry."""
    os.write(2, b"slow: begun\n")
    time.sleep(0.5)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"slow"]


def echo(environ, start_response):
    with websocket(environ) as ws:
        for message in ws:
            ws.send(message)


def late_echo(environ, start_response):
    """Has begun when its client leaves, and makes the handshake only then."""
    os.write(2, b"late_echo: begun\n")
    time.sleep(0.03)
    return echo(environ, start_response)


def pid(environ, start_response):
    """Echoes, after a first message with the worker's process id."""
    with websocket(environ) as ws:
        ws.send(str(os.getpid()))
        for message in ws:
            ws.send(message)


def takes_and_gives(environ, start_response):
    """Reads all of the body, and gives more than all buffers hold."""
    environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(256 * 65536))])
    return (b"x" * 65536 for _ in range(256))


def park(environ, start_response):
    """Never receives: the task waits for something that the engine does not know."""
    websocket(environ)
    if "greenlet" in sys.modules and threading.current_thread() is threading.main_thread():
        import greenlet

        me = greenlet.getcurrent()
        parked.append(me)
        while True:
            me.parent.switch()
    threading.Event().wait()


def busy(environ, start_response):
    """Computes without a pause for as many seconds as the client says, then echoes."""
    with websocket(environ) as ws:
        for message in ws:
            end = time.monotonic() + float(message)
            while time.monotonic() < end:
                pass
            ws.send("done")


def holds_the_interpreter(environ, start_response):
    """Computes in C, which lets no other thread run, over as many numbers as the client says."""
    with websocket(environ) as ws:
        for message in ws:
            sum(range(int(message)))
            ws.send("done")


def blocking(environ, start_response):
    """The same in a call of the system that no runner knows, and that lets go of the interpreter."""
    with websocket(environ) as ws:
        for message in ws:
            select.select([], [], [], float(message))
            ws.send("done")


def stubborn(environ, start_response):
    """Takes no hint that it is over."""
    ws = websocket(environ)
    ws.send("you will not get rid of me")
    while True:
        try:
            ws.receive()
        except BaseException:
            if "greenlet" in sys.modules and threading.current_thread() is threading.main_thread():
                time.sleep(0.05)
            else:
                threading.Event().wait()


def waits_for_ever(environ, start_response):
    """In a call that lets the others run."""
    channels.subscribe("nobody publishes here").receive()


def waits_for_ever_on_a_websocket(environ, start_response):
    import uwsgi

    with websocket(environ) as ws:
        ws.send("begun")
        uwsgi.set_user_harakiri(1)
        channels.subscribe("nobody publishes here").receive()


def insists_on_waiting(environ, start_response):
    subscription = channels.subscribe("nobody publishes here")
    while True:
        try:
            subscription.receive()
        except BaseException:
            os.write(2, b"insists_on_waiting: again\n")


def waits_in_the_body(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    yield b"begun"
    channels.subscribe("nobody publishes here").receive()


def firehose(environ, start_response):
    """Sends without end, never receives."""
    ws = websocket(environ)
    piece = b"x" * 16384
    while True:
        ws.send(piece)


def firehose_small(environ, start_response):
    ws = websocket(environ)
    while True:
        ws.send("tick" * 25)


def count(environ, start_response):
    """Numbered messages, more than all buffers hold."""
    with websocket(environ) as ws:
        for number in range(20_000):
            ws.send(f"{number:08d}" + "x" * 1000)


def raise_at_once(environ, start_response):
    raise ValueError("before the handshake")


def raise_after_handshake(environ, start_response):
    websocket(environ)
    raise ValueError("after the handshake")


def raise_on_message(environ, start_response):
    ws = websocket(environ)
    ws.receive()
    raise ValueError("on a message")


def raise_in_close(environ, start_response):
    class Result:
        def __iter__(self):
            return iter([b"ok"])

        def close(self):
            raise ValueError("in close")

    start_response("200 OK", [("Content-Type", "text/plain")])
    return Result()


def raise_in_the_body(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])

    def body():
        yield b"12345"
        raise ValueError("in the body")

    return body()


def system_exit(environ, start_response):
    ws = websocket(environ)
    ws.receive()
    sys.exit(3)


def system_exit_plain(environ, start_response):
    sys.exit(3)


def keyboard_interrupt(environ, start_response):
    ws = websocket(environ)
    ws.receive()
    raise KeyboardInterrupt


def greenlet_exit(environ, start_response):
    import greenlet

    ws = websocket(environ)
    ws.receive()
    raise greenlet.GreenletExit


class OwnBase(BaseException):
    """As `gevent.Timeout` and `asyncio.CancelledError` are."""


def own_base(environ, start_response):
    ws = websocket(environ)
    ws.receive()
    raise OwnBase("not an Exception")


def own_base_plain(environ, start_response):
    raise OwnBase("not an Exception")


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text for you")


def unprintable(environ, start_response):
    ws = websocket(environ)
    ws.receive()
    raise Unprintable


def recursion(environ, start_response):
    ws = websocket(environ)
    ws.receive()

    def deeper():
        return deeper() + 1

    deeper()


def no_import(environ, start_response):
    uwsgi.websocket_handshake()  # noqa: F821 - the listing of uWSGI's manual forgets the import


def wrong_result(environ, start_response):
    start_response("200 OK", [])
    return 42


def no_start(environ, start_response):
    return [b"no start_response"]


members = []


def tells_all(environ, start_response):
    """Sends to everybody who is here, and takes no heed of who has left meanwhile."""
    if environ.get("HTTP_UPGRADE", "") != "websocket":
        for member in members:
            member.send("a page was asked for")
        return hello(environ, start_response)
    with websocket(environ) as ws:
        members.append(ws)
        for message in ws:
            for member in members:
                member.send(message)


def empties_a_mailbox(environ, start_response):
    """Ends with what `receive` raises, in the ways in which that may come."""
    ws = websocket(environ)
    try:
        while True:
            ws.receive()
    except ConnectionClosed as end:
        how = environ["QUERY_STRING"]
        if how == "group":
            raise ExceptionGroup("of tasks", [end]) from None
        if how == "oserror":
            raise OSError("unable to receive") from end
        if how == "ping":
            ws.ping()
        if how == "join":
            ws.join("room")
        raise


def raise_in_send(environ, start_response):
    """Sends to a peer that left: ConnectionClosed is the usual end and no error of the app."""
    ws = websocket(environ)
    try:
        while True:
            ws.receive()
    except ConnectionClosed:
        ws.send("too late")


BEHAVIOURS = {f"/{name}": function for name, function in list(globals().items()) if callable(function)}
BEHAVIOURS["/"] = echo
