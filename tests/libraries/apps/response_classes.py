"""Each kind of response that five frameworks know, at the same paths below the framework's name.

fairlead --http 127.0.0.1:8080 --wsgi-file response_classes.py --threads 64
"""

import io
import json
import sys

import bottle
import falcon
import flask
import pyramid.httpexceptions
import pyramid.response
import werkzeug.utils
import werkzeug.wrappers
from pyramid.config import Configurator

#: What `file` sends: this one.
FILE = __file__
TEXT = "text/plain"


def pieces():
    for number in range(3):
        yield b"%d," % number


class Closing:
    """An iterator that says when it was closed."""

    def __init__(self, name):
        self.name = name
        self.items = pieces()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)

    def close(self):
        print(f"closed by {self.name}", file=sys.stderr, flush=True)


def flask_application():
    app = flask.Flask("flask_pages")
    response = flask.Response
    views = {
        "plain": lambda: "plain",
        "stream": lambda: response(pieces(), mimetype=TEXT),
        "context": lambda: response(flask.stream_with_context(pieces()), mimetype=TEXT),
        "closing": lambda: response(Closing("flask"), mimetype=TEXT),
        "file": lambda: flask.send_file(FILE, mimetype=TEXT),
        "bytes_file": lambda: flask.send_file(io.BytesIO(b"in memory"), mimetype=TEXT),
        "json": lambda: {"a": 1},
        "redirect": lambda: flask.redirect("/flask/plain"),
        "not_modified": lambda: response(status=304),
        "no_content": lambda: ("", 204),
        "missing": lambda: flask.abort(404),
    }
    for name, view in views.items():
        app.add_url_rule(f"/{name}", name, view)

    async def coroutine():
        return "by a coroutine"

    app.add_url_rule("/coroutine", "coroutine", coroutine)
    return app


def werkzeug_application(environ, start_response):
    request, response = werkzeug.wrappers.Request(environ), werkzeug.wrappers.Response
    made = {
        "plain": lambda: response("plain", mimetype=TEXT),
        "stream": lambda: response(pieces(), mimetype=TEXT),
        "closing": lambda: response(Closing("werkzeug"), mimetype=TEXT),
        "file": lambda: werkzeug.utils.send_file(FILE, environ, mimetype=TEXT),
        "bytes_file": lambda: werkzeug.utils.send_file(io.BytesIO(b"in memory"), environ, mimetype=TEXT),
        "json": lambda: response(json.dumps({"a": 1}), mimetype="application/json"),
        "redirect": lambda: werkzeug.utils.redirect("/werkzeug/plain"),
        "not_modified": lambda: response(status=304),
        "no_content": lambda: response(status=204),
        "missing": lambda: response("missing", status=404),
    }
    return made[request.path.strip("/")]()(environ, start_response)


def bottle_application():
    app = bottle.Bottle()

    def stream():
        bottle.response.content_type = TEXT
        return pieces()

    def with_status(status):
        return lambda: bottle.HTTPResponse(status=status)

    views = {
        "plain": lambda: "plain",
        "stream": stream,
        "closing": lambda: bottle.HTTPResponse(Closing("bottle")),
        "file": lambda: bottle.static_file(FILE, root="/", mimetype=TEXT),
        "bytes_file": lambda: io.BytesIO(b"in memory"),
        "json": lambda: {"a": 1},
        "redirect": lambda: bottle.redirect("/bottle/plain"),
        "not_modified": with_status(304),
        "no_content": with_status(204),
        "missing": lambda: bottle.abort(404),
    }
    for name, view in views.items():
        app.route(f"/{name}", "GET", view)
    return app


def falcon_application():
    app = falcon.App()

    class Page:
        def __init__(self, fill):
            self.fill = fill

        def on_get(self, request, response):
            self.fill(response)

        on_head = on_get

    def fill(**values):
        def act(response):
            for name, value in values.items():
                setattr(response, name, value() if callable(value) else value)

        return act

    def redirect(response):
        raise falcon.HTTPFound("/falcon/plain")

    def missing(response):
        raise falcon.HTTPNotFound

    pages = {
        "plain": fill(text="plain", content_type=TEXT),
        "stream": fill(stream=pieces, content_type=TEXT),
        "closing": fill(stream=lambda: Closing("falcon"), content_type=TEXT),
        "file": fill(stream=lambda: open(FILE, "rb"), content_type=TEXT),  # noqa: SIM115 - Falcon closes it
        "bytes_file": fill(stream=lambda: io.BytesIO(b"in memory"), content_type=TEXT),
        "json": fill(media={"a": 1}),
        "redirect": redirect,
        "not_modified": fill(status=falcon.HTTP_304),
        "no_content": fill(status=falcon.HTTP_204),
        "missing": missing,
    }
    for name, page in pages.items():
        app.add_route(f"/{name}", Page(page))
    return app


def pyramid_application():
    response, exceptions = pyramid.response.Response, pyramid.httpexceptions
    views = {
        "plain": lambda request: response("plain", content_type=TEXT),
        "stream": lambda request: response(app_iter=pieces(), content_type=TEXT),
        "closing": lambda request: response(app_iter=Closing("pyramid"), content_type=TEXT),
        "file": lambda request: pyramid.response.FileResponse(FILE, request=request, content_type=TEXT),
        "bytes_file": lambda request: response(body_file=io.BytesIO(b"in memory"), content_type=TEXT),
        "json": lambda request: response(json_body={"a": 1}),
        "redirect": lambda request: exceptions.HTTPFound("/pyramid/plain"),
        "not_modified": lambda request: exceptions.HTTPNotModified(),
        "no_content": lambda request: exceptions.HTTPNoContent(),
        "missing": lambda request: exceptions.HTTPNotFound(),
    }
    with Configurator() as configurator:
        for name, view in views.items():
            configurator.add_route(name, f"/{name}")
            configurator.add_view(view, route_name=name)
        return configurator.make_wsgi_app()


FRAMEWORKS = {
    "flask": flask_application(),
    "werkzeug": werkzeug_application,
    "bottle": bottle_application(),
    "falcon": falcon_application(),
    "pyramid": pyramid_application(),
}


def application(environ, start_response):
    framework, _, page = environ["PATH_INFO"].lstrip("/").partition("/")
    environ["SCRIPT_NAME"], environ["PATH_INFO"] = f"/{framework}", f"/{page}"
    return FRAMEWORKS[framework](environ, start_response)
