"""A WSGI app with one function for each odd thing that applications do with a response: chosen by the path, as in
responses.py."""

import sys
import tempfile
import time
from decimal import Decimal
from urllib.parse import unquote

from notes import argument, note, outcome, token_of

TEXT = [("Content-Type", "text/plain")]
PAGES = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def rest():
    """Five milliseconds, in which others run as far as the model can."""
    gevent = sys.modules.get("gevent")
    (gevent or time).sleep(0.005)


class Items:
    """An iterable as the language had it before `__iter__`."""

    def __init__(self, *items):
        self.items = items

    def __getitem__(self, index):
        return self.items[index]


class BothWays:
    """As Django's StreamingHttpResponse: for synchronous servers, and for those that are not."""

    def __init__(self, environ):
        self.environ = environ

    def __iter__(self):
        return iter([b"the plain ", b"way"])

    async def __aiter__(self):
        yield b"the other way"

    def close(self):
        note(self.environ, closed=True)


class Unprintable:
    def __repr__(self):
        raise ValueError("no text for you")


@page
def hello(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"hello"]


@page
def both_ways(environ, start_response):
    start_response("200 OK", TEXT)
    return BothWays(environ)


# -- what is no body


RESULTS = {
    "str": lambda: "hello",
    "long": lambda: "x" * 1000,
    "None": lambda: None,
    "number": lambda: 7,
    "dict": lambda: {"a": 1},
    "bytearray": lambda: bytearray(b"hello"),
    "memoryview": lambda: memoryview(b"hello"),
    "function": lambda: application,
    "unprintable": Unprintable,
    "decimal": lambda: Decimal(1),
    "list of str": lambda: ["hello"],
    "tuple with a number": lambda: (b"a", 7),
    "generator of str": lambda: (item for item in ["hello", "you"]),
    "iterator of numbers": lambda: iter(b"hello"),
    # What is a body, or may be taken for one.
    "bytes": lambda: b"hello",
    "empty str": lambda: "",
    "list with None": lambda: [b"hel", None, b"lo"],
    "items": lambda: Items(b"hel", b"lo"),
    "generator with nothing": lambda: (item for item in [None, b"", "", b"hello", ""]),
    "set": lambda: {b"hello"},
}


@page
def returns(environ, start_response):
    start_response("200 OK", TEXT)
    return RESULTS[unquote(argument(environ))]()


@page
def many_odd_items(environ, start_response):
    start_response("200 OK", TEXT)
    yield b"begun"
    for number in range(1000):
        yield f"text {number}"


# -- bodies that the application has put into chunks


@page
def own_chunks(environ, start_response):
    """`/own_chunks?token&how`"""
    start_response("200 OK", [*TEXT, ("Transfer-Encoding", "chunked")])
    pieces = {
        "whole": [b"5\r\nhello\r\n6\r\n, you!\r\n0\r\n\r\n"],
        "pieces": iter([b"5\r\nhe", b"llo\r", b"\n6;x=y\r\n, you!", b"\r\n0\r\n", b"\r\n"]),
        "not at all": [b"hello", b", you!"],
        "not at all, in pieces": iter([b"hello", b", you!"]),
        "broken": iter([b"5\r\nhello\r\n", b"and no chunk\r\n"]),
    }
    return pieces[unquote(argument(environ))]


@page
def own_chunks_of_a_file(environ, start_response):
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the server closes it
    file.write(b"5\r\nhello\r\n0\r\n\r\n")
    file.seek(0)
    start_response("200 OK", [*TEXT, ("Transfer-Encoding", "chunked")])
    return environ["wsgi.file_wrapper"](file)


# -- statuses


@page
def answers(environ, start_response):
    """`/answers?token&205 Reset Content`: with a body, whatever the status."""
    start_response(unquote(argument(environ)), [*TEXT, ("Content-Length", "6")])
    return [b"a body"]


@page
def streams(environ, start_response):
    """The same in pieces, of unknown length."""
    start_response(unquote(argument(environ)), TEXT)
    yield b"a "
    yield b"body"


@page
def refused_heads(environ, start_response):
    """What `start_response` raises for heads that no client could be sent."""
    note(
        environ,
        switching=outcome(start_response, "101 Switching Protocols", [("Upgrade", "websocket")]),
        early=outcome(start_response, "103 Early Hints", []),
        length=outcome(start_response, "200 OK", [("Content-Length", "five")]),
        lengths=outcome(start_response, "200 OK", [("Content-Length", "5"), ("content-length", "6")]),
        reason=outcome(start_response, "200 O\nK", []),
    )
    start_response("200 OK", TEXT)
    return [b"."]


# -- clients that leave


class Watched:
    """Items without an end, but for the patience of the tests; notes whether it was closed before that."""

    def __init__(self, environ, item, seconds):
        self.environ = environ
        self.item = item
        self.left = int(seconds / 0.005)

    def __iter__(self):
        return self

    def __next__(self):
        rest()
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return self.item

    def close(self):
        note(self.environ, ran_out=self.left < 0)


@page
def idles(environ, start_response):
    """`/idles?token&seconds`: yields nothing, again and again; not even the head leaves, which the first byte takes."""
    note({"QUERY_STRING": f"{token_of(environ)}-begun"})
    start_response("200 OK", TEXT)
    return Watched(environ, b"", float(argument(environ)))


@page
def idles_in_the_middle(environ, start_response):
    start_response("200 OK", TEXT)(b"begun")
    return Watched(environ, b"", float(argument(environ)))


@page
def talks(environ, start_response):
    start_response("200 OK", TEXT)
    return Watched(environ, b"x", float(argument(environ)))


# -- bodies


@page
def reads(environ, start_response):
    """`/reads?token&how`: the body by the calls that take a size, each with what it gave."""
    source = environ["wsgi.input"]
    calls = {
        "readline": lambda: [source.readline(4), source.readline(4), source.readline(100), source.readline(-1)],
        "none": lambda: [source.readline(None), source.readline(0), source.readline(), source.readline(5)],
        "readlines": lambda: [source.readlines(5), source.readlines(1), source.readlines(None)],
        "iteration": lambda: [list(source)],
    }
    how = argument(environ)
    note(environ, found=repr(calls[how]()), tell=source.tell())
    start_response("200 OK", TEXT)
    return [b"."]


@page
def counts(environ, start_response):
    """A body without a line end, 64 KiB at a time, as parsers of forms read it."""
    source, total, longest = environ["wsgi.input"], 0, 0
    while line := source.readline(65536):
        total += len(line)
        longest = max(longest, len(line))
    start_response("200 OK", TEXT)
    return [b"%d %d" % (total, longest)]
