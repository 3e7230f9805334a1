"""A WSGI app with one function for each thing that PEP 3333 lets an app do, chosen by the path's first part.

`/hello` calls `hello`, and so on. What a test cannot see on the wire (was `close` called, what did a call
raise) goes out as a note. Waiting for a test's permission is reading the request's body: the client sends it
when it likes.
"""

import io
import sys

from notes import argument, note, outcome

TEXT = [("Content-Type", "text/plain")]


def application(environ, start_response):
    name = environ["PATH_INFO"].split("/")[1] or "hello"
    return PAGES[name](environ, start_response)


PAGES = {}


def page(function):
    PAGES[function.__name__] = function
    return function


class Result:
    """An iterable that notes its `close`."""

    def __init__(self, environ, items):
        self.environ = environ
        self.items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)

    def close(self):
        note(self.environ, closed=True)


# -- ways to send


@page
def hello(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "6")])
    return [b"hello\n"]


@page
def no_length(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one ", b"two ", b"three"]


@page
def as_bytes(environ, start_response):
    start_response("200 OK", TEXT)
    return b"the whole body"


@page
def as_tuple(environ, start_response):
    start_response("200 OK", TEXT)
    return (b"a", b"b")


@page
def empty(environ, start_response):
    start_response("200 OK", TEXT)
    return []


@page
def generator(environ, start_response):
    start_response("200 OK", TEXT)
    for number in range(5):
        yield b"%d," % number


@page
def late_start(environ, start_response):
    # PEP 3333: a generator calls start_response in its first `next`.
    start_response("201 Created", TEXT)
    yield b"made"


@page
def empty_items_first(environ, start_response):
    start_response("200 OK", TEXT)
    yield b""
    # An empty item sends nothing yet (PEP 3333), so the status can still change.
    start_response("202 Accepted", TEXT)
    yield b"body"


@page
def write(environ, start_response):
    out = start_response("200 OK", TEXT)
    out(b"written, ")
    out(b"twice, ")
    return [b"returned"]


@page
def write_wrong_type(environ, start_response):
    out = start_response("200 OK", TEXT)
    out("text")
    out(b"bytes")
    return []


@page
def odd_items(environ, start_response):
    start_response("200 OK", TEXT)
    return iter([b"a", None, 7, "text", b"b"])


@page
def file_wrapper(environ, start_response):
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"f" * 200_000), 4096)


@page
def large(environ, start_response):
    """`/large?token&size`: so many bytes in pieces of 64 KiB."""
    size = int(argument(environ, "1000000"))
    start_response("200 OK", [*TEXT, ("Content-Length", str(size))])
    sent = 0
    while sent < size:
        piece = bytes([sent // 65536 % 251]) * min(65536, size - sent)
        sent += len(piece)
        yield piece
    note(environ, sent=sent)


@page
def endless(environ, start_response):
    start_response("200 OK", TEXT)
    return Result(environ, iter(lambda: b"x" * 65536, None))


@page
def stream(environ, start_response):
    """Each line of the request's body is answered as it comes."""
    start_response("200 OK", TEXT)
    for line in environ["wsgi.input"]:
        yield line.upper()


@page
def status(environ, start_response):
    """`/status?token&404 Not Found`, with a body that a 204 or 304 must not have."""
    start_response(argument(environ).replace("+", " "), TEXT)
    return [b"a body"]


@page
def headers(environ, start_response):
    many = [
        ("X-Many", "1"),
        ("X-Many", "2"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Latin", "caf\xe9"),
    ]
    start_response("200 OK", [*TEXT, *many])
    return [b"."]


@page
def split_header(environ, start_response):
    start_response("200 OK", [*TEXT, ("X-Bad", "a\r\nX-Injected: yes")])
    return [b"."]


@page
def too_long(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"12345678"]


@page
def too_short(environ, start_response):
    start_response("200 OK", [("Content-Length", "50")])
    return [b"12345"]


@page
def own_close(environ, start_response):
    start_response("200 OK", [*TEXT, ("Connection", "close")])
    return [b"bye"]


# -- calls and their errors


@page
def calls(environ, start_response):
    """What `start_response` raises for nonsense."""
    outcomes = {
        "status": outcome(start_response, 200, []),
        "bytes": outcome(start_response, b"200 OK", []),
        "headers": outcome(start_response, "200 OK", (("A", "b"),)),
        "header": outcome(start_response, "200 OK", [["A", "b"]]),
        "value": outcome(start_response, "200 OK", [("A", 1)]),
    }
    note(environ, **outcomes)
    start_response("200 OK", TEXT)
    return [b"."]


@page
def unsendable(environ, start_response):
    """What `start_response` raises for what no response can carry; and a list that is changed behind it."""
    outcomes = {
        "line_end": outcome(start_response, "200 OK", [("X-Bad", "a\r\nX-Injected: yes")]),
        "not_latin": outcome(start_response, "200 OK", [("X-Bad", "\u20ac")]),
        "status": outcome(start_response, "20 OK", []),
    }
    note(environ, **outcomes)
    headers = list(TEXT)
    start_response("200 OK", headers)
    headers.append(("X-Late", "yes"))
    return [b"."]


@page
def second_start(environ, start_response):
    out = start_response("200 OK", TEXT)
    start_response("203 Changed", TEXT)  # nothing has left yet, uWSGI allows it
    out(b"sent")
    note(environ, late=outcome(start_response, "500 Oops", TEXT))
    return []


@page
def exc_info_before(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        raise ValueError("before the body")
    except ValueError:
        start_response("500 Replaced", [("X-Replaced", "yes")], sys.exc_info())
    return [b"the error page"]


@page
def exc_info_after(environ, start_response):
    out = start_response("200 OK", TEXT)
    out(b"begun")
    try:
        raise ValueError("after the body began")
    except ValueError:
        start_response("500 Too Late", TEXT, sys.exc_info())
    return [b"never sent"]


@page
def raises(environ, start_response):
    raise ValueError(f"raised on purpose {argument(environ)}")


@page
def raises_after_start(environ, start_response):
    start_response("200 OK", TEXT)
    raise ValueError("raised after start_response")


@page
def raises_in_the_middle(environ, start_response):
    start_response("200 OK", TEXT)

    def items():
        yield b"the first half"
        raise ValueError("raised in the middle")

    return Result(environ, items())


@page
def raises_in_the_middle_with_length(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "1000")])
    yield b"the first half"
    raise ValueError("raised in the middle")


@page
def raises_in_close(environ, start_response):
    start_response("200 OK", TEXT)

    class Bad(Result):
        def close(self):
            raise ValueError("raised in close")

    return Bad(environ, [b"whole"])


@page
def never_starts(environ, start_response):
    return [b"a body without a status"]


@page
def returns_none(environ, start_response):
    start_response("200 OK", TEXT)


@page
def returns_number(environ, start_response):
    start_response("200 OK", TEXT)
    return 7


@page
def exits(environ, start_response):
    raise SystemExit(3)


@page
def closing(environ, start_response):
    start_response("200 OK", TEXT)
    return Result(environ, [b"with ", b"close"])


@page
def forgets_import(environ, start_response):
    uwsgi.websocket_handshake()  # noqa: F821  as in uWSGI's own listing


# -- reading


@page
def body(environ, start_response):
    data = environ["wsgi.input"].read()
    start_response("200 OK", TEXT)
    return [data]


@page
def body_length(environ, start_response):
    """Reads in small steps and answers the sum, so that a large upload needs no memory."""
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    start_response("200 OK", TEXT)
    return [str(total).encode()]


@page
def body_lines(environ, start_response):
    source = environ["wsgi.input"]
    first = source.readline()
    two = [next(source), source.readline()]
    rest = source.readlines()
    start_response("200 OK", TEXT)
    note(environ, first=first.decode(), two=[x.decode() for x in two], rest=[x.decode() for x in rest])
    return [source.read(), b"|", source.readline()]


@page
def body_iteration(environ, start_response):
    lines = list(environ["wsgi.input"])
    start_response("200 OK", TEXT)
    return [repr(lines).encode()]


@page
def body_steps(environ, start_response):
    source = environ["wsgi.input"]
    steps = [source.read(3), source.read(2), source.readline(), source.read(), source.read(5)]
    note(environ, steps=[step.decode() for step in steps], tell=source.tell())
    start_response("200 OK", TEXT)
    return [b"."]


@page
def body_calls(environ, start_response):
    source = environ["wsgi.input"]
    note(environ, seek=outcome(source.seek, 0), close=outcome(source.close), fileno=outcome(source.fileno))
    start_response("200 OK", TEXT)
    return [source.read()]


@page
def body_broken(environ, start_response):
    """The client goes away in the middle of its body."""
    note(environ, read=outcome(environ["wsgi.input"].read))
    start_response("200 OK", TEXT)
    return [b"."]


@page
def body_ignored(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"not read"]


# -- environ


@page
def environ(env, start_response):
    """All of the environ: value and type of each key, as JSON."""
    import json

    found = {
        key: [type(value).__name__, value if isinstance(value, (str, int, bool, type(None))) else repr(value)]
        for key, value in env.items()
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


@page
def errors(environ, start_response):
    environ["wsgi.errors"].write(f"app says {argument(environ)}\n")
    environ["wsgi.errors"].flush()
    start_response("200 OK", TEXT)
    return [b"."]


@page
def pid(environ, start_response):
    import os

    start_response("200 OK", TEXT)
    return [str(os.getpid()).encode()]
