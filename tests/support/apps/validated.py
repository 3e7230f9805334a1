"""The examples, and an application that does all that PEP 3333 lets it do, each behind wsgiref's validator.

`/echo/…` is the example of that name, with the path behind it; `/corners/…` a function below. What breaks a rule, on
either side of the validator, is an AssertionError in the log.
"""

import importlib.util
import io
import sys
from pathlib import Path
from wsgiref.validate import validator

EXAMPLES = Path(__file__).parents[3] / "examples"
TEXT = [("Content-Type", "text/plain")]
CORNERS = {}


def corner(function):
    CORNERS[function.__name__] = function
    return function


@corner
def a_list(environ, start_response):
    start_response("200 OK", TEXT)
    return [b"one, ", b"", b"two"]


@corner
def a_generator(environ, start_response):
    start_response("200 OK", TEXT)
    yield b""
    yield b"one, "
    yield b"two"


@corner
def an_iterator_with_close(environ, start_response):
    class Items:
        def __init__(self):
            self.items = iter([b"one, ", b"two"])

        def __iter__(self):
            return self

        def __next__(self):
            return next(self.items)

        def close(self):
            environ["wsgi.errors"].write("closed in order\n")
            environ["wsgi.errors"].flush()

    start_response("200 OK", TEXT)
    return Items()


@corner
def nothing(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "0")])
    return []


@corner
def no_content(environ, start_response):
    start_response("204 No Content", [])
    return []


@corner
def not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"x"')])
    return []


@corner
def writes(environ, start_response):
    write = start_response("200 OK", TEXT)
    write(b"one, ")
    return [b"two"]


@corner
def a_file(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "8")])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"one, two"), 3)


@corner
def changes_its_mind(environ, start_response):
    start_response("200 OK", TEXT)
    try:
        raise ValueError("too late for 200")
    except ValueError:
        start_response("503 Service Unavailable", TEXT, sys.exc_info())
    return [b"one, two"]


@corner
def reads(environ, start_response):
    """Every call of wsgi.input, in turn."""
    source = environ["wsgi.input"]
    read = [source.read(4), source.readline(), source.readline(3), *source.readlines(5), *source]
    start_response("200 OK", TEXT)
    return [b"|".join(read)]


@corner
def complains(environ, start_response):
    errors = environ["wsgi.errors"]
    errors.write("one, ")
    errors.writelines(["two\n"])
    errors.flush()
    start_response("200 OK", TEXT)
    return [b"."]


@corner
def breaks_a_rule(environ, start_response):
    start_response("200 OK", [])
    return [b"a response without a type"]


def corners(environ, start_response):
    return CORNERS[environ["PATH_INFO"].strip("/")](environ, start_response)


def example(name):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.application


PARTS = {name: validator(example(name)) for name in ("echo", "echo_fairlead", "through", "chat", "cursors")}
PARTS["corners"] = validator(corners)


def application(environ, start_response):
    name, _, path = environ["PATH_INFO"].lstrip("/").partition("/")
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = f"/{name}", f"/{path}"
    return PARTS[name](environ, start_response)
