"""Calls of the public API with values that it was not made for; `/ROW` notes what came of each call of that row."""

import io
import os

from fairlead import async_websocket, channels, current_request, send_file, websocket
from notes import note, outcome

ROWS = {}


def row(function):
    ROWS[f"/{function.__name__}"] = function
    return function


def tried(environ, **calls):
    note(environ, **{name: outcome(call) for name, call in calls.items()})


async def coroutines(environ):
    """The row of the calls that are awaited."""
    ws = async_websocket(environ)
    found = {}
    for name, call in {
        "send_number": lambda: ws.send(7),
        "send_surrogate": lambda: ws.send("\ud800"),
        "receive_negative": lambda: ws.receive(-1),
        "receive_str": lambda: ws.receive("1"),
        "close_70000": lambda: ws.close(70000),
        "ping_long": lambda: ws.ping(b"x" * 126),
        "join_empty": lambda: later(ws.join, ""),
        "a_second_handshake": lambda: later(async_websocket, environ),
        "subprotocols_str": lambda: later(async_websocket, environ, "chat"),
        "closes": lambda: ws.close(4000, "done"),
        "send_after_the_own_close": lambda: ws.send("x"),
        "receive_after_the_own_close": lambda: ws.receive(),
        "ping_after_the_own_close": lambda: ws.ping(),
    }.items():
        try:
            found[name] = {"value": repr(await call())}
        except Exception as error:
            found[name] = {"raised": type(error).__name__, "text": str(error)}
    note(environ, **found)


async def later(call, *arguments):
    return call(*arguments)


def application(environ, start_response):
    if environ["PATH_INFO"] == "/coroutines":
        return coroutines(environ)
    ROWS[environ["PATH_INFO"]](environ)
    if environ["fairlead.request"].session is None:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"."]
    return []


@row
def handshakes(environ):
    other = dict(environ)
    del other["fairlead.request"]
    tried(
        environ,
        an_empty_environ=lambda: websocket({}),
        none=lambda: websocket(None),
        a_list=lambda: websocket([]),
        an_environ_of_another_server=lambda: websocket(other),
        a_wrong_request=lambda: websocket({"fairlead.request": "x"}),
        subprotocols_str=lambda: websocket(environ, "chat"),
        subprotocols_bytes=lambda: websocket(environ, b"chat"),
        subprotocols_of_numbers=lambda: websocket(environ, [1]),
        subprotocols_a_number=lambda: websocket(environ, 1),
        async_an_empty_environ=lambda: async_websocket({}),
        async_without_asyncio=lambda: async_websocket(environ),
        a_plain_request_again=lambda: websocket(environ, ["chat"]) and websocket(environ),
    )


@row
def sessions(environ):
    ws = websocket(environ)
    tried(
        environ,
        a_second_handshake=lambda: websocket(environ),
        close_99999=lambda: ws.close(99999),
        close_70000=lambda: ws.close(70000),
        close_negative=lambda: ws.close(-1),
        close_huge=lambda: ws.close(2**70),
        close_1005=lambda: ws.close(1005),
        close_str=lambda: ws.close("1000"),
        close_float=lambda: ws.close(1000.0),
        close_none=lambda: ws.close(None),
        close_reason_bytes=lambda: ws.close(1000, b"bye"),
        close_reason_none=lambda: ws.close(1000, None),
        close_reason_surrogate=lambda: ws.close(1000, "\ud800"),
        send_none=lambda: ws.send(None),
        send_number=lambda: ws.send(7),
        send_list=lambda: ws.send(["x"]),
        send_surrogate=lambda: ws.send("\ud800"),
        ping_long=lambda: ws.ping(b"x" * 126),
        ping_str=lambda: ws.ping("x"),
        receive_negative=lambda: ws.receive(-1),
        receive_nan=lambda: ws.receive(float("nan")),
        receive_str=lambda: ws.receive("1"),
        join_empty=lambda: ws.join(""),
        join_number=lambda: ws.join(7),
        join_long=lambda: ws.join("x" * 256),
        join_control=lambda: ws.join("a\nb"),
        join_since_str=lambda: ws.join("room", "1"),
        join_since_float=lambda: ws.join("room", 1.5),
        join_slow_consumer=lambda: ws.join("room", slow_consumer="wait"),
        leave_number=lambda: ws.leave(7),
    )


@row
def after_the_own_close(environ):
    ws = websocket(environ)
    ws.close(4000, "done")
    tried(
        environ,
        send=lambda: ws.send("x"),
        ping=lambda: ws.ping(),
        join=lambda: ws.join("room"),
        receive=lambda: ws.receive(),
        close_again=lambda: ws.close(1000),
        close_again_99999=lambda: ws.close(99999),
        leave=lambda: ws.leave("room"),
    )


@row
def in_channels(environ):
    subscription = channels.subscribe("odd")
    closed = channels.subscribe("odd")
    closed.close()
    tried(
        environ,
        publish_empty_name=lambda: channels.publish("", "x"),
        publish_number=lambda: channels.publish(7, "x"),
        publish_none=lambda: channels.publish("odd", None),
        publish_surrogate=lambda: channels.publish("odd", "\ud800"),
        publish_surrogate_name=lambda: channels.publish("\ud800", "x"),
        publish_too_long=lambda: channels.publish("odd", b"x" * (2**20 + 1)),
        history_negative_limit=lambda: channels.history("odd", limit=-1),
        history_str_limit=lambda: channels.history("odd", limit="1"),
        history_float_limit=lambda: channels.history("odd", limit=1.0),
        history_huge_limit=lambda: channels.history("odd", limit=2**70),
        history_str_since=lambda: channels.history("odd", "1"),
        history_empty_name=lambda: channels.history(""),
        members_number=lambda: channels.members(7),
        members_empty_name=lambda: channels.members(""),
        subscribe_no_limit=lambda: channels.subscribe("odd", limit=0),
        subscribe_negative_limit=lambda: channels.subscribe("odd", limit=-1),
        subscribe_str_limit=lambda: channels.subscribe("odd", limit="1"),
        subscribe_drops=lambda: channels.subscribe("odd", drops="all"),
        subscribe_empty_name=lambda: channels.subscribe(""),
        subscription_receive_negative=lambda: subscription.receive(-1),
        subscription_receive_str=lambda: subscription.receive("1"),
        closed_receive=lambda: closed.receive(),
    )


@row
def files(environ):
    reader, writer = os.pipe()
    tried(
        environ,
        none=lambda: send_file(None),
        number=lambda: send_file(1.5),
        in_memory=lambda: send_file(io.BytesIO(b"x")),
        pipe=lambda: send_file(reader),
        str_position=lambda: send_file(__file__, "1"),
        float_size=lambda: send_file(__file__, 0, 1.0),
        negative_position=lambda: send_file(__file__, -1),
        negative_size=lambda: send_file(__file__, 0, -1),
        missing=lambda: send_file("/nowhere/at/all"),
        nul=lambda: send_file("a\0b"),
    )
    os.close(reader)
    os.close(writer)


#: Of requests that are over.
kept = []


@row
def keeps(environ):
    kept[:] = [environ]


@row
def over(environ):
    tried(environ, a_request_that_is_over=lambda: websocket(kept[0]), no_request=lambda: outside())


def outside():
    import contextvars

    return contextvars.Context().run(current_request)
