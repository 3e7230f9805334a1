"""Servers for the applications of tests/libraries, started as their headers say."""

from __future__ import annotations

from pathlib import Path

from support.server import Server

APPS = Path(__file__).parents[1] / "libraries" / "apps"

#: The same site by each framework: its folder, and the options that choose the application in it.
SITES = {
    "flask": ("flask_site", "--wsgi-file", "app.py", "--callable", "app"),
    "django": ("django_site", "--module", "mysite.wsgi"),
    "bottle": ("bottle_site", "--wsgi-file", "app.py", "--callable", "app"),
}


def start_library(folder: str, *options: str, environ: dict[str, str] | None = None) -> Server:
    """The command in a folder of `apps/`, once it serves; the caller stops it."""
    server = Server.launch("--chdir", str(APPS / folder), "--http", "127.0.0.1:0", *options, environ=environ)
    try:
        server.wait_until_ready()
    except BaseException:
        server.kill()
        raise
    return server
