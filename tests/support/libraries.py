"""Servers for the applications of tests/libraries, started as their headers say."""

from __future__ import annotations

from pathlib import Path

from support.server import Server

APPS = Path(__file__).parents[1] / "libraries" / "apps"
#: The browser's half of Socket.IO; `make setup` fetches it.
SOCKETIO_CLIENT = Path(__file__).parents[2] / ".build/npm/node_modules/socket.io-client/dist/socket.io.min.js"

#: The same site by each framework: its folder, and the options that choose the application in it.
SITES = {
    "flask": ("flask_site", "--wsgi-file", "app.py", "--callable", "app"),
    "django": ("django_site", "--module", "mysite.wsgi"),
    "bottle": ("bottle_site", "--wsgi-file", "app.py", "--callable", "app"),
}

#: The same rooms by each library of Socket.IO, one of them with gevent's patches, and the two ways of its driver.
SOCKETIO = {
    "python-socketio": ("--wsgi-file", "socketio_rooms.py", "--gevent", "200"),
    "flask-socketio": (
        "--wsgi-file",
        "flask_socketio_rooms.py",
        "--callable",
        "app",
        "--gevent",
        "200",
        "--gevent-monkey-patch",
    ),
}
SOCKETIO_DRIVERS = ("contexts", "events")


def start_library(folder: str, *options: str, environ: dict[str, str] | None = None) -> Server:
    """The command in a folder of `apps/`, once it serves; the caller stops it."""
    server = Server.launch("--chdir", str(APPS / folder), "--http", "127.0.0.1:0", *options, environ=environ)
    try:
        server.wait_until_ready()
    except BaseException:
        server.kill()
        raise
    return server
