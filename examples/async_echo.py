"""The echo server as a coroutine.

    fairlead --http 127.0.0.1:8080 --wsgi-file examples/async_echo.py --asyncio 1000

Connect any WebSocket client to ws://127.0.0.1:8080/. The same without asyncio: echo_fairlead.py.
"""

from fairlead import async_websocket


async def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"This is a WebSocket echo server; connect to it with a WebSocket client.\n"]
    async with async_websocket(environ) as ws:
        async for message in ws:
            await ws.send(message)
    return []
