"""An app that sends files in every way there is, one function for each, chosen by the path.

The query is the token and then the file's path, and for some numbers behind it, joined by `+`. A result that is a file
notes how it was treated: whether it was read (by Python) and when it was closed.
"""

import gzip
import io
import os
import tempfile

import fairlead
import uwsgi
from notes import argument, note, outcome

PAGES = {}


def application(environ, start_response):
    return PAGES[environ["PATH_INFO"].strip("/")](environ, start_response)


def page(function):
    PAGES[function.__name__] = function
    return function


def given(environ):
    """The path and the numbers behind it."""
    path, *numbers = argument(environ).split("+")
    return path, [int(number) for number in numbers]


def begin(start_response, *headers):
    start_response("200 OK", [("Content-Type", "application/octet-stream"), *headers])


class Noting:
    """The wrapper's file, which notes the `close`; its `read` is the file's own, as a proxy's would be."""

    def __init__(self, environ, file):
        self.environ = environ
        self.file = file
        self.read = file.read

    def close(self):
        note(self.environ, closed=True, position=self.file.tell())
        self.file.close()


@page
def wrapped(environ, start_response):
    """`path+offset+length`: from that offset, with that Content-Length if one is given."""
    path, numbers = given(environ)
    file = open(path, "rb")  # noqa: SIM115
    file.seek(numbers[0] if numbers else 0)
    begin(start_response, *[("Content-Length", str(length)) for length in numbers[1:]])
    return environ["wsgi.file_wrapper"](Noting(environ, file), 4096)


@page
def wrapped_after_write(environ, start_response):
    write = start_response("200 OK", [])
    write(b"written before, ")
    return environ["wsgi.file_wrapper"](open(given(environ)[0], "rb"))


@page
def wrapped_half_read(environ, start_response):
    """Python has read ahead of where the app is."""
    file = open(given(environ)[0], "rb")  # noqa: SIM115
    file.read(10)
    begin(start_response)
    return environ["wsgi.file_wrapper"](file)


@page
def wrapped_temporary(environ, start_response):
    """Written by the app and not flushed."""
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    file.write(b"t" * 100_000)
    file.seek(0)
    file.write(b"T")
    file.seek(0)
    begin(start_response)
    return environ["wsgi.file_wrapper"](file)


@page
def wrapped_gzip(environ, start_response):
    """Has a `fileno()`, and reads something else than lies in that file."""
    packed = tempfile.NamedTemporaryFile(suffix=".gz")  # noqa: SIM115
    with gzip.open(packed.name, "wb") as file:
        file.write(b"unpacked" * 50_000)
    begin(start_response)
    return environ["wsgi.file_wrapper"](gzip.open(packed.name))


@page
def wrapped_bytes(environ, start_response):
    begin(start_response)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"b" * 200_000))


@page
def wrapped_text(environ, start_response):
    begin(start_response)
    return environ["wsgi.file_wrapper"](open(given(environ)[0], encoding="latin-1"))


@page
def wrapped_pipe(environ, start_response):
    out, into = os.pipe()
    os.write(into, b"from a pipe")
    os.close(into)
    begin(start_response)
    return environ["wsgi.file_wrapper"](os.fdopen(out, "rb"))


@page
def wrapped_for_writing(environ, start_response):
    begin(start_response)
    return environ["wsgi.file_wrapper"](open(given(environ)[0], "ab"))


@page
def wrapped_that_cannot_close(environ, start_response):
    class Bad(Noting):
        def close(self):
            super().close()
            raise ValueError("raised in close")

    begin(start_response)
    return environ["wsgi.file_wrapper"](Bad(environ, open(given(environ)[0], "rb")))


@page
def has_wrapper(environ, start_response):
    begin(start_response)
    return [str("wsgi.file_wrapper" in environ).encode()]


# -- uwsgi.sendfile, fairlead.send_file


@page
def sendfile(environ, start_response):
    """`path+chunk+pos+size`, then something behind it."""
    path, numbers = given(environ)
    begin(start_response)
    note(environ, result=outcome(uwsgi.sendfile, path, *numbers))
    return [b"behind"]


@page
def sendfile_of_files(environ, start_response):
    path, _ = given(environ)
    write = start_response("200 OK", [])
    write(b"before ")
    with open(path, "rb") as file:
        file.seek(5)
        found = {
            "file": outcome(uwsgi.sendfile, file),
            "descriptor": outcome(uwsgi.sendfile, file.fileno(), 0, 1, 2),
            "position": file.tell(),
        }
    write(b" after")
    note(environ, **found)
    return []


@page
def sendfile_outcomes(environ, start_response):
    out, into = os.pipe()
    begin(start_response)
    note(
        environ,
        missing=outcome(uwsgi.sendfile, given(environ)[0] + ".missing"),
        folder=outcome(uwsgi.sendfile, os.path.dirname(given(environ)[0])),
        empty=outcome(uwsgi.sendfile, os.devnull),
        pipe=outcome(uwsgi.sendfile, out),
        memory=outcome(uwsgi.sendfile, io.BytesIO(b"x")),
        closed=outcome(uwsgi.sendfile, 987_654),
        number=outcome(uwsgi.sendfile, given(environ)[0], 0, 1.5),
        nothing=outcome(uwsgi.sendfile, None),
        none=outcome(uwsgi.sendfile),
    )
    os.close(out)
    os.close(into)
    return [b"nothing of it was sent"]


@page
def sendfile_first(environ, start_response):
    note(environ, result=outcome(uwsgi.sendfile, given(environ)[0]))
    begin(start_response)
    return [b"."]


@page
def send_file(environ, start_response):
    path, (position, size) = given(environ)
    begin(start_response, ("Content-Length", str(size)))
    note(environ, result=outcome(fairlead.send_file, path, position, size))
    return []


@page
def send_file_outcomes(environ, start_response):
    begin(start_response)
    note(
        environ,
        missing=outcome(fairlead.send_file, given(environ)[0] + ".missing"),
        folder=outcome(fairlead.send_file, os.path.dirname(given(environ)[0])),
        before=outcome(fairlead.send_file, given(environ)[0], -1),
        beyond=outcome(fairlead.send_file, given(environ)[0], 10**9),
    )
    return [b"nothing of it was sent"]
