"""Apps that try the rows of compat §1.4 about descriptors: a function for each, chosen by the path."""

import os
import select
import threading

import uwsgi
from notes import argument, note, outcome

PAGES = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def plain(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"."]


@page
def talks(environ, start_response):
    """`/talks?token&address`: connects, sends, receives, closes."""
    fd = uwsgi.connect(argument(environ), 5)
    found = {"fd": type(fd).__name__, "blocks": os.get_blocking(fd), "connected": outcome(uwsgi.is_connected, fd)}
    found["sent"] = outcome(uwsgi.send, fd, b"ping")
    found["some"] = outcome(uwsgi.recv, fd, 2)
    found["rest"] = outcome(uwsgi.recv, fd)
    uwsgi.send(fd, b"!")
    found["large"] = len(uwsgi.recv(fd, 1_000_000))
    while uwsgi.recv(fd):
        pass
    found["end"] = outcome(uwsgi.recv, fd)
    found["closed"] = outcome(uwsgi.close, fd)
    found["connected_after"] = outcome(uwsgi.is_connected, fd)
    found["send_after"] = outcome(uwsgi.send, fd, b"x")
    found["recv_after"] = outcome(uwsgi.recv, fd)
    found["close_after"] = outcome(uwsgi.close, fd)
    note(environ, **found)
    return plain(start_response)


@page
def connects(environ, start_response):
    """`/connects?token&address`"""
    found = outcome(uwsgi.connect, argument(environ), 1)
    if int(found["value"]) >= 0:
        uwsgi.close(int(found["value"]))
        found["value"] = "a descriptor"
    note(environ, found=found)
    return plain(start_response)


@page
def wrong_arguments(environ, start_response):
    reader, writer = os.pipe()
    note(
        environ,
        connect_bytes=outcome(uwsgi.connect, b"127.0.0.1:1"),
        connect_nul=outcome(uwsgi.connect, "127.0.0.1:1\0"),
        connect_surrogate=outcome(uwsgi.connect, "\ud800"),
        connect_float=outcome(uwsgi.connect, "127.0.0.1:1", 1.5),
        connect_keyword=outcome(uwsgi.connect, addr="127.0.0.1:1"),
        connect_none=outcome(uwsgi.connect),
        send_str=outcome(uwsgi.send, writer, "text"),
        send_array=outcome(uwsgi.send, writer, bytearray(b"x")),
        send_alone_str=outcome(uwsgi.send, "text"),
        send_fd=outcome(uwsgi.send, "1", b"x"),
        send_none=outcome(uwsgi.send),
        recv_float=outcome(uwsgi.recv, 1.5),
        recv_none=outcome(uwsgi.recv),
        recv_large=outcome(uwsgi.recv, 2**40),
        close_str=outcome(uwsgi.close, "1"),
        is_connected_float=outcome(uwsgi.is_connected, 1.5),
        is_connected_pipe=outcome(uwsgi.is_connected, reader),
        disconnect_argument=outcome(uwsgi.disconnect, 1),
        recv_zero=outcome(uwsgi.recv, reader, 0),
        recv_negative=outcome(uwsgi.recv, reader, -1),
    )
    os.close(reader)
    os.close(writer)
    return plain(start_response)


@page
def does_not_block(environ, start_response):
    """A descriptor that does not block, and nobody reads: full at once, and full in the middle."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    drain = threading.Thread(target=lambda: [os.read(reader, 65536) for _ in range(64)])
    drain.start()
    found = {"more_than_fits": outcome(uwsgi.send, writer, b"x" * 300_000)}
    os.close(writer)
    drain.join()
    os.close(reader)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while uwsgi.send(writer, b"x" * 4096):
        pass
    found["full"] = outcome(uwsgi.send, writer, b"x")
    os.close(reader)
    os.close(writer)
    note(environ, **found)
    return plain(start_response)


@page
def waits_in_a_thread(environ, start_response):
    """A thread waits in `recv`; this code runs on, so the thread has let go of the interpreter."""
    reader, writer = os.pipe()
    found = []
    thread = threading.Thread(target=lambda: found.append(uwsgi.recv(reader)))
    thread.start()
    for _ in range(100_000):
        pass
    os.write(writer, b"at last")
    thread.join()
    os.close(reader)
    os.close(writer)
    note(environ, found=repr(found))
    return plain(start_response)


@page
def raw_on_the_client(environ, start_response):
    """What uWSGI would write into the stream, here never gets there."""
    fd = uwsgi.connection_fd()
    found = {
        "send": outcome(uwsgi.send, b"raw"),
        "send_fd": outcome(uwsgi.send, fd, b"raw"),
        "recv": outcome(uwsgi.recv, fd),
        "connected": outcome(uwsgi.is_connected, fd),
    }
    note(environ, **found)
    return plain(start_response)


@page
def raw_on_a_websocket(environ, start_response):
    uwsgi.websocket_handshake()
    fd = uwsgi.connection_fd()
    found = {
        "send": outcome(uwsgi.send, b"raw"),
        "send_fd": outcome(uwsgi.send, fd, b"raw"),
        "recv": outcome(uwsgi.recv, fd),
        "connected": outcome(uwsgi.is_connected, fd),
    }
    uwsgi.websocket_send(uwsgi.websocket_recv())
    uwsgi.websocket_recv()
    found["close"] = outcome(uwsgi.close, fd)
    found["connected_after"] = outcome(uwsgi.is_connected, fd)
    found["after"] = outcome(uwsgi.websocket_recv)
    note(environ, **found)


@page
def closes_the_client(environ, start_response):
    fd = uwsgi.connection_fd()
    note(environ, close=outcome(uwsgi.close, fd), after=outcome(uwsgi.is_connected, fd))
    return []


@page
def is_connected_at_the_end(environ, start_response):
    """Waits for the end by `select`, without receiving it."""
    uwsgi.websocket_handshake()
    fd = uwsgi.connection_fd()
    uwsgi.websocket_send("go")
    select.select([fd], [], [], 20)
    connected = outcome(uwsgi.is_connected, fd)
    note(environ, connected=connected, recv=outcome(uwsgi.websocket_recv_nb))


@page
def in_every_order(environ, start_response):
    """After each step of the query: is the descriptor readable? A step is a letter, see below."""
    uwsgi.websocket_handshake()
    fd, session = uwsgi.connection_fd(), environ["fairlead.request"].session
    reader, writer = os.pipe()

    def suspend(*others):
        try:
            for one in (fd, *others):
                uwsgi.wait_fd_read(one, 20)
        except OSError:  # this model has no such call: its applications wait by select
            select.select([fd, *others], [], [], 20)
        else:
            uwsgi.suspend()

    steps = {
        "s": suspend,
        "o": lambda: suspend(reader),
        "w": lambda: os.write(writer, b"x"),
        "u": uwsgi.suspend,
        "r": uwsgi.websocket_recv_nb,
        "p": session.ping,
        "c": session.close,
        "n": lambda: uwsgi.websocket_send("next"),
    }
    found = []
    for letter in argument(environ):
        try:
            steps[letter]()
        except OSError:
            letter = f"{letter}!"
        found.append(f"{letter}{len(select.select([fd], [], [], 0)[0])}")
    os.close(reader)
    os.close(writer)
    note(environ, found=found)
