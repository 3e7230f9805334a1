"""Echo as a coroutine, for `--asyncio N`: a text comes back as text, binary as binary."""

from fairlead import ConnectionClosed, async_websocket


async def application(environ, start_response):
    if "HTTP_SEC_WEBSOCKET_KEY" not in environ:
        start_response("426 Upgrade Required", [("Content-Type", "text/plain"), ("Upgrade", "websocket")])
        return [b"this app speaks WebSocket only\n"]
    try:
        async with async_websocket(environ) as ws:
            async for message in ws:
                await ws.send(message)
    except ConnectionClosed:
        # The peer has vanished; an error log per connection would be measured too.
        pass
    return []
