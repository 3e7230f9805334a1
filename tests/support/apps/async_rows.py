"""Apps that try uWSGI's async calls (compat §1.4, §7.1): plain code that suspends, generators that yield.

`fd` in a query is one end of a pipe or socket that the page makes itself; other pages of the worker write to the other
end, so that a test decides when something becomes ready.
"""

import contextlib
import os
import socket
import time

import uwsgi
from notes import argument, note, outcome

PAGES = {}
#: The other ends of what pages wait for, by the name the test gave.
ENDS = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def plain(start_response, body=b"."):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]


@page
def keys(environ, start_response):
    note(environ, **{name.rpartition(".")[2]: repr(environ.get(name, "absent"))[:20] for name in (
        "x-wsgiorg.fdevent.readable", "x-wsgiorg.fdevent.writable", "x-wsgiorg.fdevent.timeout", "uwsgi.ready_fd",
    )})  # fmt: skip
    return plain(start_response)


@page
def names(environ, start_response):
    found = {}
    closed, other = os.pipe()
    os.close(closed)
    os.close(other)
    with open(__file__) as regular, socket.socket() as usable:
        fd = usable.fileno()
        found["registered"] = outcome(uwsgi.wait_fd_read, fd, 1)
        found["without"] = outcome(uwsgi.wait_fd_write, fd)
        found["float"] = outcome(uwsgi.wait_fd_read, fd, 1.5)
        found["text"] = outcome(uwsgi.wait_fd_read, "0")
        found["closed"] = outcome(uwsgi.wait_fd_read, closed)
        found["negative"] = outcome(uwsgi.wait_fd_write, -1)
        found["file"] = outcome(uwsgi.wait_fd_read, regular.fileno())
        found["suspend"] = outcome(uwsgi.suspend)
    found["again"] = outcome(uwsgi.green_schedule)
    found["short_sleep"] = outcome(uwsgi.async_sleep, 0.9)
    note(environ, closed_fd=closed, file_fd=regular.name, **found)
    return plain(start_response)


@page
def refused(environ, start_response):
    outcome(uwsgi.wait_fd_read, -1)
    uwsgi.suspend()
    note(environ, went_on=True)
    return plain(start_response)


@page
def waits(environ, start_response):
    """Waits for a socket whose other end `wakes` writes to, in plain code."""
    ours, ENDS[argument(environ)] = socket.socketpair()
    note(environ, waits=True)
    with ours:
        uwsgi.wait_fd_read(ours.fileno(), 10)
        began = time.monotonic()
        uwsgi.suspend()
        took = time.monotonic() - began
        ready = uwsgi.ready_fd() == ours.fileno()
        data = ours.recv(100, socket.MSG_DONTWAIT)
    return plain(start_response, f"{ready} {data.decode()} {took < 9}".encode())


@page
def wakes(environ, start_response):
    with ENDS.pop(argument(environ)) as other:
        other.sendall(b"woken")
    return plain(start_response)


@page
def times_out(environ, start_response):
    ours, other = socket.socketpair()
    with ours, other:
        uwsgi.wait_fd_read(ours.fileno(), 1)
        uwsgi.wait_fd_read(other.fileno(), 7)  # only the first time-out counts
        began = time.monotonic()
        uwsgi.suspend()
        first = time.monotonic() - began
        # Nothing is left of the registrations.
        other.sendall(b"x")
        uwsgi.suspend()
        nothing = uwsgi.ready_fd()
    began = time.monotonic()
    uwsgi.async_sleep(1.9)
    uwsgi.suspend()
    slept = time.monotonic() - began
    note(environ, first=first, nothing=nothing, slept=slept)
    return plain(start_response)


@page
def several(environ, start_response):
    """Of two that are ready one is named, and a writable socket is ready at once."""
    ours, other = socket.socketpair()
    with ours, other:
        uwsgi.wait_fd_read(ours.fileno(), 5)
        uwsgi.wait_fd_write(other.fileno(), 5)
        uwsgi.suspend()
        note(environ, writable=uwsgi.ready_fd() == other.fileno())
    return plain(start_response)


@page
def connects(environ, start_response):
    """A request to this very server, without blocking the worker."""
    fd = uwsgi.async_connect(f"127.0.0.1:{environ['SERVER_PORT']}")
    uwsgi.wait_fd_write(fd, 5)
    uwsgi.suspend()
    with socket.socket(fileno=fd) as client:
        client.sendall(b"GET /keys?nobody HTTP/1.0\r\n\r\n")
        answer = b""
        while b"\r\n\r\n" not in answer:
            uwsgi.wait_fd_read(fd, 5)
            uwsgi.suspend()
            answer += client.recv(65536)
    note(
        environ,
        status=answer.split(b"\r\n")[0].decode(),
        refused=outcome(uwsgi.async_connect, "/nowhere/at/all"),
        bytes=outcome(uwsgi.async_connect, b"127.0.0.1:1"),
    )
    return plain(start_response)


@page
def echo(environ, start_response):
    """uWSGI's own example of an async WebSocket: one wait for the peer and for something else."""
    uwsgi.websocket_handshake()
    other, ENDS[argument(environ)] = socket.socketpair()
    mine = uwsgi.connection_fd()
    with other, contextlib.suppress(OSError):
        while True:
            uwsgi.wait_fd_read(mine, 3)
            uwsgi.wait_fd_read(other.fileno())
            uwsgi.suspend()
            if uwsgi.ready_fd() == other.fileno():
                uwsgi.websocket_send(b"from elsewhere: " + other.recv(100))
            else:
                while message := uwsgi.websocket_recv_nb():
                    uwsgi.websocket_send(message)
    note(environ, over=True)


@page
def generator_echo(environ, start_response):
    """The same as a generator, in the words of x-wsgiorg.fdevent."""
    uwsgi.websocket_handshake()
    other, ENDS[argument(environ)] = socket.socketpair()
    mine = uwsgi.connection_fd()
    readable = environ["x-wsgiorg.fdevent.readable"]
    with other:
        try:
            while True:
                readable(mine, 1)
                yield readable(other.fileno())
                if environ["x-wsgiorg.fdevent.timeout"]:
                    uwsgi.websocket_send(f"nothing for a second, {environ['uwsgi.ready_fd']}")
                elif environ["uwsgi.ready_fd"] == other.fileno():
                    uwsgi.websocket_send(b"from elsewhere: " + other.recv(100))
                else:
                    while message := uwsgi.websocket_recv_nb():
                        uwsgi.websocket_send(message)
        except OSError:
            note(environ, over=True)


@page
def generator_alone(environ, start_response):
    """Waits for its WebSocket and nothing else, and tells the client how each wait ended."""
    uwsgi.websocket_handshake()
    mine = uwsgi.connection_fd()
    try:
        while True:
            yield uwsgi.wait_fd_read(mine, 1)
            timed_out = environ["x-wsgiorg.fdevent.timeout"]
            uwsgi.websocket_send(f"{timed_out} {environ['uwsgi.ready_fd'] == mine} {uwsgi.ready_fd() == mine}")
            while message := uwsgi.websocket_recv_nb():
                uwsgi.websocket_send(message)
    except OSError:
        note(environ, over=True)


@page
def generator_blocks(environ, start_response):
    uwsgi.websocket_handshake()
    yield b""
    note(environ, recv=outcome(uwsgi.websocket_recv))
    uwsgi.websocket_send("told")
    for _ in range(3):
        yield uwsgi.wait_fd_read(uwsgi.connection_fd(), 5)
        # With a message there it blocks nobody.
        uwsgi.websocket_send(uwsgi.websocket_recv())


@page
def generator_body(environ, start_response):
    """A plain response in pieces, with other requests in between."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    for number in range(5):
        yield b"%d " % number
        yield uwsgi.async_sleep(0)
    ours, ENDS[argument(environ)] = socket.socketpair()
    with ours:
        note(environ, waits=True)
        yield environ["x-wsgiorg.fdevent.readable"](ours.fileno(), 10)
        yield b"%s\n" % ours.recv(100)


@page
def generator_raises(environ, start_response):
    uwsgi.websocket_handshake()
    yield uwsgi.wait_fd_read(uwsgi.connection_fd(), 5)
    raise ValueError("on purpose")
