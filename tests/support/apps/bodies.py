"""An app that reads request bodies in every way there is, one function for each, chosen by the path.

What arrived is answered as it arrives, one line of JSON for each piece, so that a client can see that a chunk came
before it sends the next; what a call raised goes out as a note.
"""

import json
import time

import uwsgi
from notes import argument, note, outcome

TEXT = [("Content-Type", "text/plain")]
PAGES = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def line(value):
    """One line of the answer; bytes as text, other things as they are."""
    return json.dumps(value.decode("latin-1") if isinstance(value, bytes) else value).encode() + b"\n"


# -- uwsgi.chunked_read


@page
def chunks(environ, start_response):
    start_response("200 OK", TEXT)
    while True:
        chunk = uwsgi.chunked_read(20)
        yield line(chunk)
        if not chunk:
            return


@page
def chunk_sizes(environ, start_response):
    start_response("200 OK", TEXT)
    sizes = []
    while chunk := uwsgi.chunked_read():
        sizes.append(len(chunk))
    return [line(sizes)]


@page
def chunks_nb(environ, start_response):
    """What `chunked_read_nb` finds before and after the client was told to go on."""
    start_response("200 OK", TEXT)
    while True:
        yield line(uwsgi.chunked_read_nb())
        deadline = time.monotonic() + 20
        while (chunk := uwsgi.chunked_read_nb()) is None and time.monotonic() < deadline:
            time.sleep(0.001)  # only a wait would be told, and this call must not
        yield line(chunk)
        if not chunk:
            return


@page
def chunk_call(environ, start_response):
    """`/chunk_call?token&-1`: what one call with this time-out, and one after it, find."""
    given = [int(part) for part in argument(environ).split() if part]
    first = outcome(uwsgi.chunked_read, *given)
    start_response("200 OK", TEXT)
    yield line("first")
    note(environ, first=first, second=outcome(uwsgi.chunked_read, 20))


@page
def chunk_raises(environ, start_response):
    """Lets what `chunked_read` raises through."""
    while uwsgi.chunked_read(20):
        pass
    start_response("200 OK", TEXT)
    return [line("whole")]


@page
def chunk_arguments(environ, start_response):
    note(
        environ,
        text=outcome(uwsgi.chunked_read, "1"),
        number=outcome(uwsgi.chunked_read, 1.5),
        nb=outcome(uwsgi.chunked_read_nb, 1),
    )
    start_response("200 OK", TEXT)
    return []


# -- wsgi.input


@page
def mixed(environ, start_response):
    """A line, a chunk, three bytes, a chunk, and the rest."""
    source = environ["wsgi.input"]
    steps = [source.readline(), uwsgi.chunked_read(), source.read(3), uwsgi.chunked_read(), *source]
    start_response("200 OK", TEXT)
    return [line([step.decode() for step in [*steps, source.read(), source.readline(), uwsgi.chunked_read()]])]


@page
def ways(environ, start_response):
    """`read(n)`, `readline`, iteration and `read()` of one body."""
    source = environ["wsgi.input"]
    steps = [
        source.read(4),
        source.readline(),
        next(source),
        source.read(2),
        source.read(),
        source.read(),
        source.read(9),
    ]
    start_response("200 OK", TEXT)
    return [line([step.decode() for step in steps])]


@page
def what_is_known(environ, start_response):
    names = ("CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "wsgi.input_terminated", "HTTP_X_TRAILER")
    body = environ["wsgi.input"].read().decode()
    start_response("200 OK", TEXT)
    return [line([body, uwsgi.cl(), *(environ.get(name) for name in names)])]


@page
def reads(environ, start_response):
    """`/reads?token&verb size`: lets through what the call raises, and says after it that the body was whole."""
    verb, *size = argument(environ).split("+")
    getattr(environ["wsgi.input"], verb)(*map(int, size))
    start_response("200 OK", TEXT)
    return [line("whole")]


@page
def read_outcome(environ, start_response):
    """The same, but notes what the call raises and answers all the same."""
    verb, *size = argument(environ).split("+")
    note(environ, read=outcome(getattr(environ["wsgi.input"], verb), *map(int, size)))
    start_response("200 OK", TEXT)
    return [line("answered")]


@page
def holds_back(environ, start_response):
    """Reads nothing while its own answer is not taken; then all, and says how much it was."""
    start_response("200 OK", TEXT)
    for _ in range(512):
        yield b"." * 65536
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    yield b"\n%d" % total
