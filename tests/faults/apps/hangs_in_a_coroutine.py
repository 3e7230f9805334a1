"""Coroutines that wait for ever, by a plain request and by a WebSocket."""

import asyncio

import uwsgi
from fairlead import async_websocket


async def application(environ, start_response):
    if environ["PATH_INFO"] == "/quick":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"quick"]
    if "HTTP_UPGRADE" in environ:
        ws = async_websocket(environ)
        await ws.send("begun")
        uwsgi.set_user_harakiri(1)
    await asyncio.sleep(3600)
