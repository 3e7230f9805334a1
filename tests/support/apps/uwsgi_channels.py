"""Apps that try the rows of compat §1.6: one function for each, chosen by the path.

`/talks` does what its client tells it, one command for each message: a JSON list of the call's name and its arguments,
answered with `=` and the outcome. Bytes stand in JSON as `{"hex": "00ff"}`. Which channels there are the test says.
"""

import json
import os
import threading
import time

import uwsgi
from fairlead import async_websocket, channels, current_request, websocket
from greenlet import greenlet
from notes import argument, note, outcome

PAGES = {}
AT_IMPORT = {
    "joins": outcome(uwsgi.channel_join, "room"),
    "leaves": outcome(uwsgi.channel_leave, "room"),
    "receives": outcome(uwsgi.channel_recv, "room", 1),
    "joins_for_client": outcome(uwsgi.websocket_channel_join, "room"),
    "undeclared": outcome(uwsgi.channel_join, "nowhere"),
}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def plain(start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"."]


@page
def at_import(environ, start_response):
    note(environ, **AT_IMPORT)
    return plain(start_response)


@page
def talks(environ, start_response):
    uwsgi.websocket_handshake()
    while True:
        name, *arguments = json.loads(uwsgi.websocket_recv())
        arguments = [bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in arguments]
        began = time.monotonic()
        call = {"pid": os.getpid, "members": channels.members}.get(name) or getattr(uwsgi, name)
        found = outcome(call, *arguments)
        uwsgi.websocket_send("=" + json.dumps({**found, "took": time.monotonic() - began}))


@page
def mistakes(environ, start_response):
    """Everything that §1.6 says is raised, and what arguments of other types are."""
    calls = ("channel_join", "websocket_channel_join", "channel_leave", "channel_send", "channel_recv")
    more = {"channel_send": ("x",)}
    found = {}
    for name in calls:
        call, rest = getattr(uwsgi, name), more.get(name, ())
        found[name] = {
            "undeclared": outcome(call, "nowhere", *rest),
            "empty": outcome(call, "", *rest),
            "bytes": outcome(call, b"room", *rest),
            "nul": outcome(call, "ro\0om", *rest),
            "nothing": outcome(call),
            "too_many": outcome(call, "room", 1, 2),
        }
    found["message"] = [outcome(uwsgi.channel_send, "room", one) for one in (None, 1, "\ud800")]
    found["timeout"] = [outcome(uwsgi.channel_recv, "room", one) for one in (1.5, "1", 2**31)]
    found["too_long"] = outcome(uwsgi.channel_send, "room", b"x" * 65_537)
    found["not_joined"] = outcome(uwsgi.channel_recv, "room")
    found["before_handshake"] = outcome(uwsgi.websocket_channel_join, "room")
    found["leaves_nothing"] = outcome(uwsgi.channel_leave, "room")
    found["sends_without_join"] = outcome(uwsgi.channel_send, "room", "x")
    note(environ, **found, history=len(channels.history("room")))
    return plain(start_response)


@page
def counts(environ, start_response):
    start_response("200 OK", [])
    return [json.dumps([channels.members(name) for name in argument(environ).split(",")]).encode()]


@page
def names(environ, start_response):
    note(environ, found=[hasattr(uwsgi, name) for name in (
        "channel_join", "channel_leave", "channel_send", "channel_recv", "websocket_channel_join",
    )])  # fmt: skip
    return plain(start_response)


@page
def children(environ, start_response):
    """A thread and a greenlet that the request has started join, send and receive for it."""
    channel, found = argument(environ), {}

    def joins():
        found["joined"] = outcome(uwsgi.channel_join, channel)

    def works():
        uwsgi.channel_send(channel, "to itself")
        found["received"] = outcome(uwsgi.channel_recv, channel, 20)

    thread = threading.Thread(target=joins)
    thread.start()
    thread.join()
    thread = threading.Thread(target=works)
    thread.start()
    thread.join()
    uwsgi.channel_send(channel, "for the greenlet")
    greenlet(lambda: found.update(in_greenlet=outcome(uwsgi.channel_recv, channel, 20))).switch()
    note(environ, found=found)
    return plain(start_response)


@page
def left_meanwhile(environ, start_response):
    """A thread waits for a message while the request leaves."""
    channel, found = argument(environ), {}
    uwsgi.channel_join(channel)
    thread = threading.Thread(target=lambda: found.update(waited=outcome(uwsgi.channel_recv, channel)))
    thread.start()
    time.sleep(0.1)
    uwsgi.channel_leave(channel)
    thread.join()
    note(environ, **found)
    return plain(start_response)


@page
def ends(environ, start_response):
    """Joins one channel, and ends in the way that is asked for."""
    how, channel = argument(environ).split(",")
    uwsgi.channel_join(channel)
    if how == "raises":
        raise ValueError("on purpose")
    if how == "exits":
        raise SystemExit
    if how == "late_thread":
        request = current_request()

        def late():
            while not request.is_complete:
                time.sleep(0.001)
            note(environ, late=outcome(uwsgi.channel_join, channel), left=outcome(uwsgi.channel_recv, channel))

        threading.Thread(target=late).start()
    return plain(start_response)


@page
def ends_as_generator(environ, start_response):
    uwsgi.channel_join(argument(environ))
    start_response("200 OK", [])
    yield b"one"
    note(environ, members=channels.members(argument(environ)))
    yield b"two"


@page
async def ends_as_coroutine(environ, start_response):
    channel = argument(environ)
    uwsgi.channel_join(channel)
    ws = async_websocket(environ)
    uwsgi.websocket_channel_join(f"{channel}2")
    found = outcome(uwsgi.channel_recv, channel, 1)
    note(environ, found=found)
    while True:
        await ws.receive()


@page
def generator(environ, start_response):
    """A generator application that sends what it has, and would wait."""
    channel = argument(environ)
    uwsgi.websocket_handshake()
    uwsgi.channel_join(channel)
    yield b""
    uwsgi.channel_send(channel, "pending")
    # A message that has come is taken; delivery is the engine's, in its own time.
    message = None
    for _ in range(1000):
        found = outcome(uwsgi.channel_recv, channel, 1)
        message = found if "raised" not in found else message
        if message:
            break
        yield uwsgi.async_sleep(0.9)
    note(environ, message=message, waits=outcome(uwsgi.channel_recv, channel, 1))


@page
def after_the_end(environ, start_response):
    """Its client has gone: as under uWSGI a join does not look, the next WebSocket call tells."""
    channel = argument(environ)
    uwsgi.websocket_handshake()
    outcome(uwsgi.websocket_recv)
    joined = outcome(uwsgi.websocket_channel_join, channel)
    note(environ, joined=joined, received=outcome(uwsgi.channel_recv, channel, 1),
         left=outcome(uwsgi.channel_leave, channel), recv=outcome(uwsgi.websocket_recv))  # fmt: skip


@page
def mixed(environ, start_response):
    """One client: Fairlead's API and uWSGI's calls."""
    channel = argument(environ)
    with websocket(environ) as ws:
        uwsgi.websocket_channel_join(channel)
        channels.publish(channel, "by fairlead")
        uwsgi.channel_send(channel, "by uwsgi")
        ws.receive()
