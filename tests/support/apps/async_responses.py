"""Plain HTTP by applications that are async def: what they may return, one function for each kind."""

import asyncio
import functools

from fairlead import async_websocket
from notes import argument, note, outcome

PAGES = {}


def page(function):
    PAGES[function.__name__] = function
    return function


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


@page
async def hello(environ, start_response):
    await asyncio.sleep(0)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello, ", b"world"]


@page
async def returns(environ, start_response):
    """`/returns?token&what`"""
    what = argument(environ)
    if what != "no start":
        start_response("200 OK", [])

    def generator():
        yield b"from a "
        yield b"generator"

    return {
        "bytes": b"whole",
        "tuple": (b"a", b"b"),
        "nothing": [],
        "generator": generator(),
        "iterator": iter([b"an ", b"iterator"]),
        "None": None,
        "text": ["no bytes"],
        "number": 7,
        "no start": [b"x"],
    }[what]


@page
async def streams(environ, start_response):
    """`/streams?token&sizes`: an async iterator with pieces of these sizes, some of them late."""

    class Pieces:
        def __init__(self):
            self.sizes = [int(size) for size in argument(environ).split(",")]
            self.closed = False

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.sizes:
                raise StopAsyncIteration
            await asyncio.sleep(0.001 * (len(self.sizes) % 2))
            return b"x" * self.sizes.pop(0)

        async def aclose(self):
            note(environ, closed=True)

    start_response("200 OK", [])
    return Pieces()


@page
async def generates(environ, start_response):
    """Itself an async generator."""
    start_response("200 OK", [])
    try:
        for number in range(3):
            await asyncio.sleep(0)
            yield b"%d" % number
    finally:
        await asyncio.sleep(0)
        note(environ, ended=True)


@page
async def idles(environ, start_response):
    """Yields nothing, again and again, for at most four seconds."""
    start_response("200 OK", [])(b"begun")
    left = 800
    try:
        while left := left - 1:
            await asyncio.sleep(0.005)
            yield b""
    finally:
        note(environ, ran_out=not left)


@page
async def talks(environ, start_response):
    """The same with something to say."""
    start_response("200 OK", [])
    left = 800
    try:
        while left := left - 1:
            await asyncio.sleep(0.005)
            yield b"x"
    finally:
        note(environ, ran_out=not left)


@page
async def generates_a_websocket(environ, start_response):
    ws = async_websocket(environ)
    yield b"never on the wire"
    async for message in ws:
        await ws.send(message)
        yield b"nor this"


@page
async def breaks_off(environ, start_response):
    start_response("200 OK", [])
    yield b"half"
    raise ValueError("on purpose, in the middle")


@page
async def fails(environ, start_response):
    await asyncio.sleep(0)
    raise ValueError("on purpose, before the start")


@page
async def reads(environ, start_response):
    """The request's body, in a thread."""
    body = await asyncio.to_thread(environ["wsgi.input"].read)
    start_response("200 OK", [])
    return [body.upper()]


@page
async def writes(environ, start_response):
    start_response("200 OK", [])(b"by write, ")
    await asyncio.sleep(0)
    return [b"and returned"]


@page
def needs_a_loop(environ, start_response):
    note(environ, handshake=outcome(async_websocket, environ))
    start_response("200 OK", [])
    return [b"."]


class Callable:
    async def __call__(self, environ, start_response):
        return await hello(environ, start_response)


async def _greets(greeting, environ, start_response):
    start_response("200 OK", [])
    return [greeting]


def _future(environ, start_response):
    start_response("200 OK", [])
    # No loop runs for a plain function, but there is one.
    future = asyncio.get_event_loop().create_future()
    asyncio.get_event_loop().call_later(0.001, future.set_result, [b"a future"])
    return future


PAGES["callable"] = Callable()
PAGES["partial"] = functools.partial(_greets, b"a partial")
PAGES["future"] = _future
